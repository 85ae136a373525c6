// Bytes and their texts: hex, base64, and the packed form of docs/proof-format.md.

/** What the checker refuses on its own account, with a sentence that says why. */
export class Refused extends Error {}

export function need(condition, reason) {
  if (!condition) throw new Refused(reason);
}

export function equalBytes(a, b) {
  if (!(a instanceof Uint8Array && b instanceof Uint8Array)) return false;
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

export function concat(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export const utf8 = (text) => new TextEncoder().encode(text);
export const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export function fromHex(text, size) {
  const isHex = typeof text === "string" && text.length === 2 * size && /^[0-9a-f]*$/.test(text);
  need(isHex, `a field does not hold ${2 * size} hex digits`);
  return Uint8Array.from({ length: size }, (_, at) => parseInt(text.slice(2 * at, 2 * at + 2), 16));
}

export function toNumber(bytes) {
  return bytes.length ? BigInt("0x" + toHex(bytes)) : 0n;
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const VALUES = new Map([...ALPHABET].map((letter, value) => [letter, value]));

/** The bytes of base64 with padding; null where it is none. `strict`: also the bits that no byte needs must be zero. */
export function fromBase64(text, strict = true) {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text) || text.endsWith("\n")) return null;
  const letters = text.replace(/=+$/, "");
  const bytes = new Uint8Array(Math.floor((letters.length * 3) / 4));
  let bits = 0, kept = 0, at = 0;
  for (const letter of letters) {
    kept = ((kept << 6) | VALUES.get(letter)) & 0xfff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = (kept >> bits) & 255;
    }
  }
  return strict && kept & ((1 << bits) - 1) ? null : bytes;
}

/** The bytes of a packed text: base64 without padding over bytes whose runs of zeros are counted. */
export function unpack(text) {
  need(typeof text === "string", "a field that should hold bytes holds something else");
  const cut = text.includes("=") ? null : fromBase64(text + "=".repeat((4 - (text.length % 4)) % 4));
  need(cut !== null, "a field holds no packed bytes, or not in their one form");
  let size = 0;
  for (let at = 0; at < cut.length; at++) size += cut[at] ? 1 : 1 + cut[++at];
  need(Number.isFinite(size), "a field holds no packed bytes: a run of zeros has no length");
  return fill(cut, new Uint8Array(size));
}

function fill(cut, data) {
  let end = 0;
  for (let at = 0; at < cut.length; at++) {
    if (cut[at]) {
      data[end++] = cut[at];
    } else {
      const more = cut[++at];
      end += 1 + more;
      need(more === 255 || at + 1 === cut.length || cut[at + 1], "a field's bytes are not packed in their one form");
    }
  }
  return data;
}
