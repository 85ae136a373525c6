// The checkpoint: a signed note with the log's size and root (docs/ledger.md).
import { sha256 } from "@noble/hashes/sha2.js";
import { concat, equalBytes, fromBase64, need, utf8 } from "./bytes.js";
import { isSignedBy } from "./signature.js";

const NUMBER = /^(?:0|-?[1-9][0-9]*)$/;
const DIGITS_MAX = 4300;
const LINES = 6;

/** {origin, size, root, time} of a note of six lines that this key signed. */
export function openCheckpoint(note, publicKey) {
  need(typeof note === "string", "this is not a checkpoint of a Terang log");
  const lines = note.split("\n");
  need(lines.length === LINES + 1 && lines[4] === "" && lines[6] === "", "this is not a checkpoint of a Terang log");
  const [origin, size, encoded, timeLine, , signatureLine] = lines;
  need(origin && timeLine.startsWith("time "), "this is not a checkpoint of a Terang log");
  const time = timeLine.slice(5), root = fromBase64(encoded);
  for (const number of [size, time]) {
    need(NUMBER.test(number) && number.length <= DIGITS_MAX, "the checkpoint has a line that is not a number");
  }
  need(root && root.length === 32, "the checkpoint has a line that is not a root");
  need(!/\p{C}|(?! )\p{Z}/u.test(origin), "the checkpoint's name cannot be printed");
  const body = utf8(lines.slice(0, 4).join("\n") + "\n"), dash = `\u2014 ${origin} `;
  const signature = signatureLine.startsWith(dash) ? fromBase64(signatureLine.slice(dash.length)) : null;
  const keyHash = sha256(concat(utf8(origin + "\n"), Uint8Array.of(1), publicKey)).slice(0, 4);
  const isSigned = signature && signature.length === 68 && equalBytes(signature.slice(0, 4), keyHash);
  need(isSigned && isSignedBy(publicKey, body, signature.slice(4)), "the checkpoint is not signed with the expected key");
  return { origin, size: BigInt(size), root, time: BigInt(time) };
}

/** {size, root} of a checkpoint that somebody has kept; its signature is not asked for: they know whence it came. */
export function readHead(text) {
  const lines = text.replace(/\r\n/g, "\n").split("\n");
  const root = lines.length > 2 ? fromBase64(lines[2], false) : null;
  const isHead = root && root.length === 32 && /^\s*\+?[0-9]+(?:_[0-9]+)*\s*$/.test(lines[1]);
  const size = isHead && lines[1].length <= DIGITS_MAX ? BigInt(lines[1].replace(/[\s+_]/g, "")) : 0n;
  need(size >= 1n, "this is no checkpoint: its second line is a size, its third a root");
  return { size, root };
}
