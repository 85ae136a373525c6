// Ed25519 as libsodium checks it, and the address that made a secp256k1 signature.
import { ed25519 } from "@noble/curves/ed25519.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { concat, equalBytes, need, toNumber } from "./bytes.js";

const Point = ed25519.Point;

/** Whether `signature` over `message` was made with this key.
 *
 * Not noble's own `verify`: that multiplies by the cofactor, so that it takes signatures with a part of small order,
 * and takes an R of small order. The platform's library takes neither, and two checkers must not differ.
 */
export function isSignedBy(publicKey, message, signature) {
  const first = signature.subarray(0, 32), s = littleEndian(signature.subarray(32));
  if (publicKey.length !== 32 || signature.length !== 64 || s >= Point.Fn.ORDER) return false;
  let key;
  try {
    key = Point.fromBytes(publicKey, false);
  } catch {
    return false;
  }
  if (key.isSmallOrder()) return false;
  const k = littleEndian(sha512(concat(first, publicKey, message))) % Point.Fn.ORDER;
  const found = Point.BASE.multiplyUnsafe(s).subtract(key.multiplyUnsafe(k));
  return !found.isSmallOrder() && equalBytes(found.toBytes(), first);
}

const littleEndian = (bytes) => toNumber(Uint8Array.from(bytes).reverse());

/** The address whose key made these 65 bytes (r, s, parity) over a hash. */
export function addressOf(hash, seal) {
  need(seal[64] <= 1, "the last byte of the seal is neither 0 nor 1");
  const recovered = secp256k1.recoverPublicKey(concat(seal.subarray(64), seal.subarray(0, 64)), hash, { prehash: false });
  const plain = secp256k1.Point.fromBytes(recovered).toBytes(false);
  return keccak_256(plain.subarray(1)).slice(12);
}
