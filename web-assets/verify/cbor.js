// Deterministic CBOR of the device protocol: one value has one byte form, every other is refused.
// Whole numbers are BigInts, bytes Uint8Arrays, arrays Arrays, maps Maps, typed arrays Columns.
import { Refused, toNumber } from "./bytes.js";

/** Bytes that the device protocol does not allow. */
export class CodecError extends Refused {}

/** A typed array of whole numbers. */
export class Column {
  constructor(values) {
    this.values = values;
  }
}

const [UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG] = [0, 1, 2, 3, 4, 5, 6];
const NULL = 0xf6;
const DEPTH_MAX = 8;
const FLOOR = { 1: 24n, 2: 1n << 8n, 4: 1n << 16n, 8: 1n << 32n };
// tag -> bytes an element, the smallest greatest number that needs this width, whether signed
const TYPED = new Map([
  [64n, [1, 0n, false]], [65n, [2, 1n << 8n, false]], [66n, [4, 1n << 16n, false]], [67n, [8, 1n << 32n, false]],
  [72n, [1, 0n, true]], [73n, [2, 1n << 7n, true]], [74n, [4, 1n << 15n, true]], [75n, [8, 1n << 31n, true]],
]);
const CUT = "the bytes end in the middle of a value";

/** A place in bytes, from which values are read one after another. */
export class CborReader {
  constructor(data) {
    this.data = data;
    this.at = 0;
  }

  need(condition, reason) {
    if (!condition) throw new CodecError(reason);
  }

  /** [major type, number] of the head that comes; only the shortest form of a number is taken. */
  head() {
    this.need(this.at < this.data.length, CUT);
    const first = this.data[this.at++], number = first & 31;
    if (number < 24) return [first >> 5, BigInt(number)];
    this.need(number <= 27, "indefinite lengths and reserved heads are not allowed");
    const size = 1 << (number - 24), found = toNumber(this.take(BigInt(size)));
    this.need(found >= FLOOR[size], "a number is not in its shortest form");
    return [first >> 5, found];
  }

  take(length) {
    this.need(length <= BigInt(this.data.length - this.at), CUT);
    const begin = this.at;
    this.at += Number(length);
    return this.data.slice(begin, this.at);
  }

  unsigned() {
    const [major, number] = this.head();
    this.need(major === UNSIGNED, "a field must be an unsigned number");
    return number;
  }

  bytes() {
    const [major, length] = this.head();
    this.need(major === BYTES, "a field must be a byte string");
    return this.take(length);
  }

  column() {
    const [major, tag] = this.head();
    this.need(major === TAG && TYPED.has(tag), "expected a typed array of integers");
    const [size, floor, signed] = TYPED.get(tag);
    const [inner, length] = this.head();
    this.need(inner === BYTES && length % BigInt(size) === 0n, "a typed array has a broken length");
    const values = numbersOf(this.take(length), size, signed);
    const reach = values.reduce((most, value) => (value < 0n ? max(most, -value - 1n) : max(most, value)), 0n);
    const isNarrowest = signed ? values.some((value) => value < 0n) && reach >= floor : !floor || reach >= floor;
    this.need(isNarrowest, "a typed array is wider than its values need");
    return new Column(values);
  }

  value(depth = 0) {
    this.need(depth <= DEPTH_MAX, "values are nested too deeply");
    if (this.data[this.at] === NULL) {
      this.at++;
      return null;
    }
    const begin = this.at, [major, number] = this.head();
    if (major === UNSIGNED) return number;
    if (major === NEGATIVE) return -1n - number;
    if (major === BYTES) return this.take(number);
    if (major === TEXT) return this.text(number);
    if (major === ARRAY) return this.array(number, depth);
    if (major === MAP) return this.map(number, depth);
    this.need(major === TAG, "floats, true, false and undefined are not in the protocol");
    this.at = begin;
    return this.column();
  }

  text(length) {
    const raw = this.take(length);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
    } catch {
      throw new CodecError("a text is not UTF-8");
    }
  }

  array(count, depth) {
    this.need(count <= BigInt(this.data.length - this.at), CUT);
    const items = [];
    for (let left = Number(count); left; left--) items.push(this.value(depth + 1));
    return items;
  }

  map(count, depth) {
    const found = new Map();
    let last = -1n;
    for (let left = count; left; left--) {
      const [major, key] = this.head();
      this.need(major === UNSIGNED && key > last, "map keys must be unsigned and rise");
      found.set(key, this.value(depth + 1));
      last = key;
    }
    return found;
  }

  end() {
    this.need(this.at === this.data.length, "there are bytes after the value");
  }
}

const max = (a, b) => (a > b ? a : b);

function numbersOf(data, size, signed) {
  const values = [];
  for (let at = 0; at < data.length; at += size) {
    const value = toNumber(data.subarray(at, at + size));
    values.push(signed ? BigInt.asIntN(8 * size, value) : value);
  }
  return values;
}

/** The head of a byte string. */
export function bytesHead(length) {
  if (length < 24) return Uint8Array.of((BYTES << 5) | length);
  if (length < 256) return Uint8Array.of((BYTES << 5) | 24, length);
  return Uint8Array.of((BYTES << 5) | 25, length >> 8, length & 255); // a statement has at most 16384 bytes
}
