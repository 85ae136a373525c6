// Signed statements: the envelope of a device and the act of the platform (docs/device-protocol.md).
import { sha256 } from "@noble/hashes/sha2.js";
import { concat, equalBytes, Refused, utf8 } from "./bytes.js";
import { bytesHead, CborReader, CodecError } from "./cbor.js";
import { isSignedBy } from "./signature.js";

export const ENVELOPE = 1, ACT = 2;
const CONTEXTS = { [ENVELOPE]: utf8("terang/v1/envelope"), [ACT]: utf8("terang/v1/act") };
const MAX_BYTES = 16384;
// tag 18, array of 4, the protected header h'a10127' as a byte string, an empty map
const PREFIX = Uint8Array.of(0xd2, 0x84, 0x43, 0xa1, 0x01, 0x27, 0xa0);
const STRUCTURE = concat(Uint8Array.of(0x84, 0x6a), utf8("Signature1"), Uint8Array.of(0x43, 0xa1, 0x01, 0x27));
const SIGNATURE_HEAD = Uint8Array.of(0x58, 0x40);
const TAIL = 66;
const READINGS = 1n, LOST = 2n, TIME = 3n, EVENT = 4n;

/** The name of a device: the beginning of its key's hash. */
export const deviceId = (publicKey) => sha256(publicKey).slice(0, 16);

function need(condition, reason) {
  if (!condition) throw new CodecError(reason);
}

/** The payload of a statement that this key signed; throws where it is not one in its one form. */
export function openStatement(publicKey, data, kind) {
  need(data.length <= MAX_BYTES, "an envelope may have 16384 bytes");
  need(equalBytes(data.slice(0, PREFIX.length), PREFIX), "this is not a COSE_Sign1 with the fixed headers");
  const reader = new CborReader(data);
  reader.at = PREFIX.length;
  const payload = reader.bytes(), end = reader.at;
  const isWhole = end + TAIL === data.length && equalBytes(data.slice(end, end + 2), SIGNATURE_HEAD);
  need(isWhole, "the payload or the signature has a broken length");
  const context = CONTEXTS[kind];
  const signed = concat(STRUCTURE, bytesHead(context.length), context, bytesHead(payload.length), payload);
  if (!isSignedBy(publicKey, signed, data.subarray(end + 2))) {
    throw new Refused("the signature does not verify under the expected key");
  }
  return payload;
}

/** {name, at, person, values} of an act that this key signed. */
export function openAct(publicKey, data) {
  const reader = new CborReader(openStatement(publicKey, data, ACT));
  const value = reader.value();
  reader.end();
  need(Array.isArray(value) && value.length === 5 && value[0] === 1n, "this is not an act of the platform");
  const [, name, at, person, values] = value;
  const isAct = typeof name === "string" && typeof at === "bigint" && typeof person === "bigint" && Array.isArray(values);
  need(isAct, "this is not an act of the platform");
  return { name, at, person, values };
}

/** The fields of an envelope's payload before its body, and where that begins. */
export function splitPayload(payload) {
  const reader = new CborReader(payload);
  const [major, count] = reader.head();
  need(major === 4 && count === 12n, "the payload is an array of twelve");
  need(reader.value() === 1n, "this version of the device protocol is not known");
  const fields = {
    kind: reader.unsigned(),
    device: reader.bytes(),
    epoch: reader.bytes(),
    sequence: reader.unsigned(),
    previous: reader.bytes(),
    meter: reader.unsigned(),
    attestedBy: reader.unsigned(),
    uptime: reader.unsigned(),
    utc: reader.value(),
    clock: reader.unsigned(),
    bodyAt: reader.at,
  };
  const { device, epoch, previous, attestedBy, utc, clock } = fields;
  need(device.length === 16 && epoch.length === 8 && previous.length === 32, "a field has a wrong length");
  need(attestedBy < 3n && clock < 3n, "attested_by or clock is not known");
  need((utc === null) === (clock === 0n), "UTC stands exactly where the clock is known");
  need(utc === null || typeof utc === "bigint", "UTC is a number of milliseconds");
  return fields;
}

/** The body: {offsets, columns: Map of code to values} of readings, null for what else a device can say. */
export function decodeBody(payload, fields) {
  const reader = new CborReader(payload);
  reader.at = fields.bodyAt;
  const readings = fields.kind === READINGS ? readReadings(reader) : null;
  if (fields.kind !== READINGS) checkOther(fields.kind, reader.value());
  reader.end();
  return readings;
}

function readReadings(reader) {
  const [major, count] = reader.head();
  need(major === 4 && count === 2n, "readings are an array of two: offsets and columns");
  const offsets = reader.column().values;
  need(offsets.length && offsets[0] === 0n, "readings begin at offset 0");
  need(offsets.every((offset, at) => !at || offset > offsets[at - 1]), "readings of one envelope must rise in time");
  const [kind, size] = reader.head();
  need(kind === 5 && size > 0n, "readings need a map of columns");
  const columns = new Map();
  let last = -1n;
  for (let left = size; left; left--) {
    const code = reader.unsigned();
    need(code > last, "quantity codes must rise");
    const { values } = reader.column();
    need(values.length === offsets.length, "every column must have one value a reading");
    columns.set(code, values);
    last = code;
  }
  return { offsets, columns };
}

function checkOther(kind, value) {
  need(Array.isArray(value), "the body of an envelope is an array");
  if (kind === LOST) checkLost(value);
  else if (kind === TIME) checkTime(value);
  else if (kind === EVENT) checkEvent(value);
  else throw new CodecError("this kind of envelope is not known");
}

const isUnsigned = (value) => typeof value === "bigint" && value >= 0n;
const isEpoch = (value) => value instanceof Uint8Array && value.length === 8;

function checkLost(value) {
  need(value.length === 7 && isEpoch(value[0]) && typeof value[6] === "string", "a lost record has seven fields");
  const numbers = value.slice(1, 6);
  need(numbers.every(isUnsigned), "a field must be an unsigned number");
  need(numbers[1] >= numbers[0] && numbers[3] >= numbers[2], "a lost record's ranges must not be backwards");
}

function checkTime(value) {
  need(value.length === 4 && isEpoch(value[0]), "a time record has four fields");
  need(value.slice(1).every(isUnsigned), "a field must be an unsigned number");
  need(value[3] === 1n || value[3] === 2n, "a time record must say how the time is known");
}

function checkEvent(value) {
  const isNamed = value.length === 2 && typeof value[0] === "string" && value[0] && Array.from(value[0]).length <= 40;
  need(isNamed && typeof value[1] === "bigint", "an event has a name of 1 to 40 characters and a number");
}
