// The Merkle tree of RFC 6962: where an inclusion path and a consistency path lead (RFC 9162, 2.1.3.2 and 2.1.4.2).
import { sha256 } from "@noble/hashes/sha2.js";
import { concat, equalBytes, need } from "./bytes.js";

const EMPTY_ROOT = sha256(new Uint8Array());
const nodeHash = (left, right) => sha256(concat(Uint8Array.of(1), left, right));

/** The hash of a record as a leaf: its kind stands before its bytes. */
export const leafHash = (kind, data) => sha256(concat(Uint8Array.of(0, kind), data));

/** Throws unless `leaf` stands at `index` of the tree of `size` leaves with this root. */
export function verifyInclusion(leaf, index, size, path, root) {
  need(index >= 0n && index < size, `record ${index} is not among the first ${size}`);
  let node = index, last = size - 1n, result = leaf;
  for (const sibling of path) {
    need(last !== 0n, "the inclusion path is too long");
    if (node & 1n || node === last) {
      result = nodeHash(sibling, result);
      [node, last] = risen(node, last);
    } else {
      result = nodeHash(result, sibling);
    }
    [node, last] = [node >> 1n, last >> 1n];
  }
  need(last === 0n, "the inclusion path is too short");
  need(equalBytes(result, root), "the inclusion path does not lead to the root");
}

/** Up to where the node is a right child: those above it have no sibling in this tree. */
function risen(node, last) {
  while (!(node & 1n) && node) [node, last] = [node >> 1n, last >> 1n];
  return [node, last];
}

/** Throws unless the tree of `newRoot` extends that of `oldRoot`. */
export function verifyConsistency(oldSize, newSize, oldRoot, newRoot, proof) {
  need(oldSize >= 0n && oldSize <= newSize, `a log of ${oldSize} records cannot have grown to ${newSize}`);
  if (oldSize === 0n || oldSize === newSize) {
    const expected = oldSize ? newRoot : EMPTY_ROOT;
    need(!proof.length && equalBytes(oldRoot, expected), "the two roots differ although nothing was added");
    return;
  }
  const hashes = oldSize & (oldSize - 1n) ? [...proof] : [oldRoot, ...proof];
  need(hashes.length, "the consistency proof is empty");
  let node = oldSize - 1n, last = newSize - 1n;
  while (node & 1n) [node, last] = [node >> 1n, last >> 1n];
  let oldResult = hashes[0], newResult = hashes[0];
  for (const sibling of hashes.slice(1)) {
    need(last !== 0n, "the consistency proof is too long");
    if (node & 1n || node === last) {
      oldResult = nodeHash(sibling, oldResult);
      newResult = nodeHash(sibling, newResult);
      [node, last] = risen(node, last);
    } else {
      newResult = nodeHash(newResult, sibling);
    }
    [node, last] = [node >> 1n, last >> 1n];
  }
  const leads = last === 0n && equalBytes(oldResult, oldRoot) && equalBytes(newResult, newRoot);
  need(leads, "the new log does not extend the old one");
}
