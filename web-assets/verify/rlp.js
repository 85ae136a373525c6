// RLP in its one form, the header of a block, and the way from its receiptsRoot to a receipt (Yellow Paper, B and D).
import { keccak_256 } from "@noble/hashes/sha3.js";
import { concat, equalBytes, need, Refused, toNumber } from "./bytes.js";
import { addressOf } from "./signature.js";

const DEPTH_MAX = 900;
const isBytes = (item) => item instanceof Uint8Array;

/** Bytes, or a list of such, from exactly these bytes. */
export function decodeRlp(data) {
  const [item, end] = readItem(data, 0, data.length, 0);
  need(end === data.length, "RLP is followed by more bytes");
  return item;
}

function readItem(data, at, end, depth) {
  need(at < end && depth <= DEPTH_MAX, "RLP is too short");
  const first = data[at];
  if (first < 0x80) return [data.slice(at, at + 1), at + 1];
  const isList = first >= 0xc0, short = first - (isList ? 0xc0 : 0x80);
  let begin = at + 1, size = short;
  if (short >= 56) {
    begin += short - 55;
    need(begin <= end && data[at + 1] !== 0, "RLP has a broken length");
    const length = toNumber(data.subarray(at + 1, begin));
    need(length >= 56n && length <= BigInt(end - begin), "RLP has a broken length");
    size = Number(length);
  }
  need(begin + size <= end, "RLP is too short");
  if (isList) return [readList(data, begin, begin + size, depth), begin + size];
  need(size !== 1 || data[begin] >= 0x80, "RLP has a string where a byte was possible");
  return [data.slice(begin, begin + size), begin + size];
}

function readList(data, begin, end, depth) {
  const items = [];
  for (let at = begin; at < end; ) {
    const [item, next] = readItem(data, at, end, depth + 1);
    items.push(item);
    at = next;
  }
  return items;
}

function head(offset, size) {
  if (size < 56) return Uint8Array.of(offset + size);
  const length = numberBytes(BigInt(size));
  return concat(Uint8Array.of(offset + 55 + length.length), length);
}

function encodeBytes(data) {
  return data.length === 1 && data[0] < 0x80 ? data : concat(head(0x80, data.length), data);
}

function encodeList(items) {
  const body = concat(...items.map(encodeBytes));
  return concat(head(0xc0, body.length), body);
}

function numberBytes(value) {
  const digits = value ? value.toString(16) : "";
  const even = digits.length % 2 ? "0" + digits : digits;
  return Uint8Array.from(even.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

const VANITY = 32, SEAL = 65, ADDRESS = 20;
const NUMBERS = [7, 8, 9, 10, 11, 15]; // difficulty, number, gas limit, gas used, timestamp, base fee

/** A London block header; refuses every other bytes. */
export class Header {
  constructor(raw) {
    const items = decodeRlp(raw);
    need(Array.isArray(items) && items.length === 16 && items.every(isBytes), "block header does not have the 16 fields");
    need(NUMBERS.every((at) => items[at][0] !== 0), "block header is not in canonical RLP");
    this.items = items;
    this.hash = keccak_256(raw);
    this.receiptsRoot = items[5];
    this.number = toNumber(items[8]);
    this.extra = items[12];
  }

  /** The address that sealed it (EIP-225). */
  signer() {
    need(this.extra.length >= VANITY + SEAL, `block ${this.number} has no seal`);
    const cut = this.items.map((item, at) => (at === 12 ? item.subarray(0, -SEAL) : item));
    try {
      return addressOf(keccak_256(encodeList(cut)), this.extra.subarray(-SEAL));
    } catch (error) {
      throw new Refused(`block ${this.number} has a broken seal: ${error.message}`);
    }
  }

  /** The addresses that it names as signers: a genesis, and every epoch block. */
  signers() {
    const size = this.extra.length - VANITY - SEAL;
    need(size > 0 && size % ADDRESS === 0, `block ${this.number} names no signers`);
    const middle = this.extra.slice(VANITY, -SEAL);
    return Array.from({ length: size / ADDRESS }, (_, at) => middle.slice(at * ADDRESS, (at + 1) * ADDRESS));
  }
}

/** The encoded receipt at `index`, to which exactly these trie nodes lead. */
export function receiptOf(header, index, nodes) {
  const left = [...nodes];
  let path = nibblesOf(encodeBytes(numberBytes(index)));
  let step = header.receiptsRoot;
  for (;;) {
    if (isBytes(step)) {
      need(left.length && equalBytes(keccak_256(left[0]), step), "a node is not the one whose hash stands above it");
      step = decodeRlp(left.shift());
    }
    need(Array.isArray(step) && (step.length === 17 || step.length === 2), "a node has neither 17 nor 2 items");
    let value = null;
    if (step.length === 17) {
      if (path.length) step = step[path.shift()];
      else value = step[16];
    } else {
      const [part, isLeaf] = compactPath(step[0]);
      need(part.every((nibble, at) => nibble === path[at]), "the block has no receipt at this index");
      path = path.slice(part.length);
      if (isLeaf) value = step[1];
      else step = step[1];
    }
    if (value !== null) {
      need(!path.length && !left.length && isBytes(value) && value.length, "the path ends elsewhere");
      return value;
    }
  }
}

const nibblesOf = (data) => Array.from(data).flatMap((byte) => [byte >> 4, byte & 15]);

function compactPath(data) {
  need(isBytes(data) && data.length, "a path in a node is not in its one form");
  const nibbles = nibblesOf(data), flag = nibbles[0];
  need(flag <= 3 && (flag & 1 || !nibbles[1]), "a path in a node is not in its one form");
  return [nibbles.slice(flag & 1 ? 1 : 2), Boolean(flag & 2)];
}

/** {succeeded, logs: [{address, topics, data}]} of an encoded receipt (EIP-2718). */
export function decodeReceipt(raw) {
  const items = decodeRlp(raw[0] >= 0xc0 ? raw : raw.subarray(1));
  need(Array.isArray(items) && items.length === 4 && Array.isArray(items[3]), "the receipt does not have four fields");
  const [status, , , logs] = items;
  for (const log of logs) need(Array.isArray(log) && log.length >= 3, "a log does not have three fields");
  return {
    succeeded: equalBytes(status, Uint8Array.of(1)),
    logs: logs.map(([address, topics, data]) => ({ address, topics, data })),
  };
}
