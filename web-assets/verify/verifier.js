// Checks a proof as docs/proof-format.md says, step by step; the first that does not hold ends the check. No page, no
// network, no clock: the same text gives the same answer everywhere, and the same as the platform's own checker.
import { equalBytes, fromHex, need, Refused, toHex, toNumber, unpack, utf8 } from "./bytes.js";
import { CodecError, Column } from "./cbor.js";
import { openCheckpoint, readHead } from "./checkpoint.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { parseOneForm } from "./json.js";
import { leafHash, verifyConsistency, verifyInclusion } from "./merkle.js";
import { decodeReceipt, Header, receiptOf } from "./rlp.js";
import { ACT, decodeBody, deviceId, ENVELOPE, openAct, openStatement, splitPayload } from "./statement.js";

const FORMAT = "terang-proof-2";
const FIELDS = [
  ...["anchor", "bindings", "checkpoint", "checkpoint_key", "format", "nodes", "path", "platform_key", "reading"],
  ...["record", "since"],
];
const ANCHOR_FIELDS = [
  ...["block_hash", "block_number", "contract", "genesis", "genesis_hash", "header", "log_index", "receipt"],
  ...["signers", "site", "transaction_index"],
];
const KINDS = new Map([["envelope", ENVELOPE], ["act", ACT]]);
const STORY = ["adopt_device", "place_meter", "start_tenancy", "confirm_binding"];
const QUANTITIES = ["", "voltage_mv", "current_ma", "power_mw", "energy_mwh", "frequency_millihz", "power_factor_permille"];
const ANCHORED = keccak_256(utf8("Anchored(bytes32,uint64,uint64,bytes32)"));

class StepFailed extends Error {
  constructor(step, error) {
    super(String(error.message || error));
    this.step = step;
    this.kept = error instanceof Incomparable ? error.kept : null;
  }
}

/** What was kept says nothing against the proof: it is `unreadable`, or of `other` size than the proof knows. */
class Incomparable extends Refused {
  constructor(kept, reason) {
    super(reason);
    this.kept = kept;
  }
}

/** Whatever goes wrong inside, foreseen or not, is a step that does not hold. */
function step(name, work) {
  try {
    return work();
  } catch (error) {
    throw error instanceof StepFailed ? error : new StepFailed(name, error);
  }
}

/** {holds: true, steps: [[name, text], ...], shows} or {holds: false, step, problem, kept}.
 *
 * `kept` is a checkpoint's text, or nothing; in the answer it is null, or why what was kept could not be compared.
 */
export function check(text, kept = "") {
  try {
    const document = step("form", () => parseOneForm(text));
    return { holds: true, ...checkDocument(document, kept) };
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    return { holds: false, step: error.step, problem: error.message, kept: error.kept };
  }
}

function checkDocument(document, kept) {
  const form = step("form", () => readForm(document));
  const { subject, paths, bindings } = form;
  const steps = [];
  const say = (name, sentence) => steps.push([name, sentence]);
  const said = step("signature", () => readStatement(subject));
  const device = subject.kind === ACT ? null : toHex(deviceId(subject.key));
  const who = device ? `device ${device}` : "the platform";
  say("signature", `the record is signed with the key ${toHex(subject.key)} of ${who}`);
  const reading = step("reading", () => checkReading(document.get("reading"), said));
  if (reading !== null) say("reading", readingWords(reading));
  const point = step("checkpoint", () => openCheckpoint(document.get("checkpoint"), form.checkpointKey));
  const leaf = leafHash(subject.kind, subject.data);
  step("inclusion", () => verifyInclusion(leaf, subject.position, point.size, paths.record, point.root));
  const key = toHex(form.checkpointKey);
  say("checkpoint", `the log ${point.origin} of ${point.size} records, root ${toHex(point.root)}, is signed with ${key}`);
  say("inclusion", `it stands at position ${subject.position} of that log`);
  const bound = step("bindings", () => checkBindings(bindings, form, point, said));
  for (const one of bound) say("bindings", bindingWords(one));
  const anchor = document.get("anchor") === null ? null : checkAnchor(document.get("anchor"), point, say);
  if (paths.since !== null) step("head", () => checkSince(point, paths.since));
  const known = paths.since === null ? [point] : [point, paths.since];
  const head = kept.trim() ? step("head", () => checkHead(readKept(kept), known)) : null;
  if (head) say("head", `its log is one history with the head of ${head.size} records that you have kept`);
  return { steps, shows: shown({ form, device, said, reading, point, bound, anchor, head }) };
}

/** A field of an object; throws where there is no object or no such field. */
function field(object, name) {
  need(object instanceof Map && object.has(name), `${name} is missing`);
  return object.get(name);
}

function needFields(object, names, reason) {
  need(object instanceof Map && object.size === names.length && names.every((name) => object.has(name)), reason);
}

function whole(value) {
  need(typeof value === "bigint" && value >= 0n && value < 1n << 63n, "a field does not hold a whole number");
  return value;
}

function readForm(document) {
  need(document instanceof Map && document.get("format") === FORMAT, `this is not a proof of the format ${FORMAT}`);
  needFields(document, FIELDS, `this is not a proof of the format ${FORMAT}`);
  const subject = readSubject(document.get("record")), paths = readPaths(document);
  const checkpointKey = fromHex(document.get("checkpoint_key"), 32), bindings = document.get("bindings");
  const isStated = bindings.length > 0 || subject.kind === ACT;
  const platformKey = isStated ? fromHex(document.get("platform_key"), 32) : null;
  need(isStated || document.get("platform_key") === null, "a platform's key is named, and nothing is signed with it");
  const isItsOwn = subject.kind !== ACT || equalBytes(platformKey, subject.key);
  need(isItsOwn, "an act is signed with the platform's key, and the document names another");
  return { subject, paths, checkpointKey, platformKey, bindings };
}

function readSubject(record) {
  needFields(record, ["data", "kind", "position", "public_key"], "the record has other fields than it should");
  need(KINDS.has(record.get("kind")), "the record is of no kind that is known");
  return {
    position: whole(record.get("position")),
    kind: KINDS.get(record.get("kind")),
    data: unpack(record.get("data")),
    key: fromHex(record.get("public_key"), 32),
  };
}

/** The hashes of the paths; every one is used, and stands in the order of its first use. */
function readPaths(document) {
  const packed = unpack(document.get("nodes"));
  need(packed.length % 32 === 0, "the nodes are no hashes");
  const nodes = Array.from({ length: packed.length / 32 }, (_, at) => packed.slice(32 * at, 32 * at + 32));
  let seen = 0n;
  const read = (numbers) => {
    need(Array.isArray(numbers), "a path is no list");
    for (const number of numbers) {
      need(whole(number) <= seen, "the nodes are not in the order of their first use");
      if (number === seen) seen++;
    }
    need(seen <= BigInt(nodes.length), "a path uses a node that is not there");
    return numbers.map((number) => nodes[Number(number)]);
  };
  const record = read(document.get("path")), bindings = document.get("bindings"), kept = document.get("since");
  need(Array.isArray(bindings), "the bindings are no list");
  const bound = bindings.map((one) => read(field(one, "path")));
  let since = null;
  if (kept !== null) {
    needFields(kept, ["path", "root", "size"], "the kept head has other fields than it should");
    since = { size: whole(kept.get("size")), root: fromHex(kept.get("root"), 32), path: read(kept.get("path")) };
  }
  const isUsed = seen === BigInt(nodes.length) && new Set(nodes.map(toHex)).size === nodes.length;
  need(isUsed, "there are nodes that no path uses, or one twice");
  return { record, bindings: bound, since };
}

/** What the record states: {act}, or {fields, body} with no body where it is signed and nobody can read it. */
function readStatement(subject) {
  if (subject.kind === ACT) return { act: openAct(subject.key, subject.data) };
  const payload = openStatement(subject.key, subject.data, ENVELOPE), fields = splitPayload(payload);
  need(equalBytes(fields.device, deviceId(subject.key)), "the record names another device than its key");
  try {
    return { fields, body: decodeBody(payload, fields) };
  } catch (error) {
    if (error instanceof CodecError) return { fields, body: null };
    throw error;
  }
}

function checkReading(told, said) {
  const index = told === null ? 0n : whole(field(told, "index"));
  need(isSame(told, readingAt(said, index)), "what the document says of the reading is not what was signed");
  return told;
}

function readingAt({ fields, body }, index) {
  if (!body || index >= BigInt(body.offsets.length)) return null;
  const at = Number(index);
  const values = new Map(Array.from(body.columns, ([code, column]) => [nameOf(code), column[at]]));
  const utc = fields.utc === null ? null : fields.utc + body.offsets[at];
  return new Map([["index", index], ["utc_ms", utc], ["values", values]]);
}

const nameOf = (code) => (code >= 1n && code < BigInt(QUANTITIES.length) ? QUANTITIES[Number(code)] : `quantity_${code}`);

function readingWords(told) {
  const values = Array.from(told.get("values"), ([name, value]) => `${name} ${value}`).join(", "), utc = told.get("utc_ms");
  const when = utc === null ? "at a time that the device did not know" : `at ${utc} ms UTC`;
  return `reading ${told.get("index")} of it says ${values} ${when}`;
}

/** Whether two values, of CBOR or of JSON, are the same in kind and content. */
function isSame(a, b) {
  if (a instanceof Uint8Array) return equalBytes(a, b);
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, at) => isSame(item, b[at]));
  if (a instanceof Column) return b instanceof Column && isSame(a.values, b.values);
  if (a instanceof Map) {
    if (!(b instanceof Map) || a.size !== b.size) return false;
    return Array.from(a).every(([key, value]) => b.has(key) && isSame(value, b.get(key)));
  }
  return a === b;
}

function checkBindings(bindings, form, point, said) {
  const found = bindings.map((one, at) => {
    needFields(one, ["data", "path", "position"], "a binding has other fields than it should");
    const data = unpack(one.get("data")), position = whole(one.get("position"));
    verifyInclusion(leafHash(ACT, data), position, point.size, form.paths.bindings[at], point.root);
    return { position, act: openAct(form.platformKey, data) };
  });
  if (found.length) needOneStory(found, form.subject, said.fields);
  return found;
}

/** Adoption of this key, then the placing of this meter, then a tenancy of that room, then its confirmation. */
function needOneStory(found, subject, fields) {
  const ranks = found.map(({ act }) => STORY.indexOf(act.name));
  const isInOrder = ranks.every((rank, at) => rank >= 0 && (!at || rank > ranks[at - 1]));
  need(isInOrder, "the bindings are others than adoption, placing, tenancy and confirmation, in this order");
  need(subject.kind === ENVELOPE, "only a device's record can be bound to a room");
  const { device, meter } = fields, said = new Map(found.map(({ act }) => [act.name, act.values]));
  const [adopted, placed, started, confirmed] = STORY.map((name) => said.get(name));
  if (adopted) need(isSame(adopted, [device, subject.key]), "the adoption is of another key");
  if (placed) {
    need(placed.length >= 3, "a binding states other things than it should");
    need(isSame(placed.slice(0, 2), [device, meter]), "the placing is of another meter");
  }
  if (started) {
    need(started.length === 4, "a binding states other things than it should");
    need(isSame(started[1], placed ? placed[2] : null), "the tenancy is of another room");
  }
  if (confirmed) {
    need(placed && started, "what was confirmed is not there");
    need(isSame(confirmed, [device, meter, placed[2], started[0]]), "what was confirmed is another binding");
    need(isSame(found.at(-1).act.person, started[2]), "somebody else than the tenant confirmed");
  }
}

/** A value in a sentence. */
function word(value) {
  if (typeof value === "string") return `'${value}'`;
  if (value instanceof Uint8Array) return toHex(value);
  return value === null ? "None" : String(value);
}

function bindingWords({ position, act }) {
  const [first, second, third, fourth] = act.values.map(word);
  const words = {
    adopt_device: () => `the platform adopted this key at ${act.at} ms UTC`,
    place_meter: () => `this meter measures room ${third} from ${act.at} ms UTC on`,
    start_tenancy: () => `tenancy ${first} of room ${second} began at ${fourth} ms UTC`,
    confirm_binding: () => `the tenant confirmed the same at ${act.at} ms UTC`,
  };
  return `record ${position}: ${words[act.name]()}`;
}

function checkAnchor(anchor, point, say) {
  const form = step("form", () => readAnchor(anchor));
  const { header, genesis, named, number, contract, site } = form;
  step("event", () => checkEvent(anchor, form, point));
  say("event", `the contract 0x${toHex(contract)} took that root for the site ${toHex(site)}`);
  const { signer, signers } = step("seal", () => checkSeal(anchor, form));
  say("seal", `block ${number} (${toHex(header.hash)}) is sealed by 0x${toHex(signer)}, one of ${signers.length}`);
  step("genesis", () => {
    const isFirst = equalBytes(genesis.hash, fromHex(anchor.get("genesis_hash"), 32)) && genesis.number === 0n;
    need(isFirst, "the first header is not that of the chain which the document names");
    genesis.signers();
  });
  const learned = named === genesis ? "its first block" : `its block ${named.number}, whose signers were voted in`;
  say("genesis", `the signers are those that the chain ${toHex(genesis.hash)} names in ${learned}`);
  const [hash, first] = [header.hash, genesis.hash].map(toHex);
  return { number, hash, genesis: first, signer: toHex(signer), contract: toHex(contract) };
}

function readAnchor(anchor) {
  needFields(anchor, ANCHOR_FIELDS, "the anchor has other fields than it should");
  const genesis = new Header(unpack(anchor.get("genesis"))), receipt = anchor.get("receipt");
  need(Array.isArray(receipt), "the receipt's nodes are no list");
  return {
    genesis,
    header: new Header(unpack(anchor.get("header"))),
    named: anchor.get("signers") === "" ? genesis : new Header(unpack(anchor.get("signers"))),
    number: whole(anchor.get("block_number")),
    logIndex: whole(anchor.get("log_index")),
    contract: fromHex(anchor.get("contract"), 20),
    site: fromHex(anchor.get("site"), 32),
    nodes: receipt.map(unpack),
  };
}

function checkEvent(anchor, { header, nodes, logIndex, contract, site }, point) {
  const { succeeded, logs } = decodeReceipt(receiptOf(header, whole(anchor.get("transaction_index")), nodes));
  need(logIndex < BigInt(logs.length), "the receipt has no such event");
  const { address, topics, data } = logs[Number(logIndex)];
  const isAnchored = Array.isArray(topics) && topics.length === 2 && equalBytes(topics[0], ANCHORED);
  const isIts = succeeded && isAnchored && equalBytes(address, contract) && data instanceof Uint8Array && data.length >= 96;
  need(isIts, "the transaction did not succeed, or its event is not one of that contract");
  const [oldSize, newSize] = [toNumber(data.subarray(0, 32)), toNumber(data.subarray(32, 64))];
  need(oldSize < 1n << 64n && newSize < 1n << 64n, "an Anchored event cannot be decoded");
  const isSaid = equalBytes(topics[1], site) && newSize === point.size && equalBytes(data.slice(64, 96), point.root);
  need(isSaid, "the contract took another site, size or root than the checkpoint's");
}

function checkSeal(anchor, { header, named, number }) {
  const isNamed = equalBytes(header.hash, fromHex(anchor.get("block_hash"), 32)) && header.number === number;
  need(isNamed, "the header is not that of the block which the document names");
  const signer = header.signer(), signers = named.signers();
  const isSigner = signers.some((one) => equalBytes(one, signer)) && named.number <= number;
  need(isSigner, `the block is sealed by 0x${toHex(signer)}, who is no signer of the chain`);
  return { signer, signers };
}

function checkSince(point, since) {
  const [older, newer] = since.size <= point.size ? [since, point] : [point, since];
  verifyConsistency(older.size, newer.size, older.root, newer.root, since.path);
}

function readKept(text) {
  try {
    return readHead(text);
  } catch (error) {
    throw new Incomparable("unreadable", error.message);
  }
}

function checkHead(head, known) {
  const ofSize = known.filter((one) => one.size === head.size);
  if (!ofSize.length) {
    throw new Incomparable("other", `the proof was made for another head: ask for one with --since ${head.size}`);
  }
  const isKnown = ofSize.some((one) => equalBytes(one.root, head.root));
  need(isKnown, `the log of the proof had another root at ${head.size} records than the one you have kept`);
  return head;
}

/** A number as JSON has it; in digits where that would lose some. */
function plain(value) {
  if (value instanceof Map) return Object.fromEntries(Array.from(value, ([key, inner]) => [key, plain(inner)]));
  if (typeof value !== "bigint") return value;
  return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
}

function shown({ form, device, said, reading, point, bound, anchor, head }) {
  const { subject, checkpointKey, platformKey } = form;
  const valuesOf = (name) => bound.find(({ act }) => act.name === name)?.act.values;
  const meter = said.fields ? plain(said.fields.meter) : null;
  return {
    position: plain(subject.position),
    size: plain(point.size),
    root: toHex(point.root),
    reading: plain(reading),
    bindings: bound.map(({ act }) => act.name),
    block_number: anchor && plain(anchor.number),
    block_hash: anchor && anchor.hash,
    genesis_hash: anchor && anchor.genesis,
    signer: anchor && anchor.signer,
    contract: anchor && anchor.contract,
    origin: point.origin,
    checkpoint_ms: plain(point.time),
    checkpoint_key: toHex(checkpointKey),
    platform_key: platformKey && toHex(platformKey),
    public_key: toHex(subject.key),
    device,
    meter,
    act: said.act ? said.act.name : null,
    room: roomOf(valuesOf("place_meter")),
    head: head && plain(head.size),
  };
}

function roomOf(placed) {
  return placed && typeof placed[2] === "bigint" ? plain(placed[2]) : null;
}
