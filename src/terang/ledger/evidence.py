"""What ties an anchor to its block without asking a node: the event in its receipt, the receipt in the block's header,
the header's seal, and the header that names the signers.
"""

from collections.abc import Iterable
from typing import Any

import rlp
from eth_utils.crypto import keccak
from trie.hexary import HexaryTrie

from terang.ledger.chain import Log
from terang.ledger.clique import ADDRESS_BYTES, SEAL_BYTES, VANITY_BYTES, Header
from terang.values.errors import ProofError

__all__ = ["decode_receipt", "encode_receipt", "prove_receipt", "receipt_of", "signers_in"]

_TYPED = 0xC0  # an encoded receipt that begins below is of a later type than the first: its type, then the list
_BRANCH, _SHORT = 17, 2


def decode_receipt(raw: bytes) -> tuple[bool, int, tuple[Log, ...]]:
    """Success, gas used in the block up to and with this transaction, and logs of an encoded receipt (EIP-2718)."""
    status, gas, _, logs = rlp.decode(raw if raw[0] >= _TYPED else raw[1:])
    return status == b"\x01", int.from_bytes(gas, "big"), tuple(_log(item) for item in logs)


def encode_receipt(*, kind: int, succeeded: bool, gas: int, bloom: bytes, logs: Iterable[Log]) -> bytes:
    """A receipt in the form that a block's receiptsRoot is over (EIP-2718); `kind` is its transaction's type."""
    said = [[log.address, list(log.topics), log.data] for log in logs]
    used = gas.to_bytes((gas.bit_length() + 7) // 8, "big")
    encoded = bytes(rlp.encode([b"\x01" if succeeded else b"", used, bloom, said]))
    return bytes((kind,)) + encoded if kind else encoded


def _log(item: Any) -> Log:
    return Log(address=item[0], topics=tuple(item[1]), data=item[2])


def prove_receipt(receipts: tuple[bytes, ...], index: int) -> list[bytes]:
    """The trie nodes, root first, that lead from a block's receiptsRoot to the receipt at `index`."""
    trie = HexaryTrie({})
    for number, receipt in enumerate(receipts):
        trie[rlp.encode(number)] = receipt
    nodes = [rlp.encode(node) for node in trie.get_proof(rlp.encode(index))]  # type: ignore[no-untyped-call]
    # a node of fewer than 32 bytes stands inside the one above it
    return [node for number, node in enumerate(nodes) if number == 0 or len(node) >= len(trie.root_hash)]


def receipt_of(header: Header, index: int, nodes: list[bytes]) -> bytes:
    """The encoded receipt that the header's receiptsRoot has at `index` (Yellow Paper, appendix D); ProofError unless
    exactly these nodes lead there.
    """
    try:
        return _walk(header.receipts_root, rlp.encode(index), list(nodes))
    except (rlp.DecodingError, ValueError, TypeError, IndexError) as error:
        raise ProofError(f"the nodes do not lead from the block's receiptsRoot to a receipt: {error}") from error


def _walk(root: bytes, key: bytes, nodes: list[bytes]) -> bytes:
    path = [nibble for byte in key for nibble in (byte >> 4, byte & 15)]
    step: Any = root
    while True:
        if isinstance(step, bytes):
            if keccak(nodes[0]) != step:
                raise ValueError("a node is not the one whose hash stands above it")
            step = rlp.decode(nodes.pop(0))
        if len(step) == _BRANCH:
            value, step = (step[16], None) if not path else (None, step[path.pop(0)])
        elif len(step) == _SHORT:
            part, is_leaf = _hex_prefix(step[0])
            if path[: len(part)] != part:
                raise ValueError("the block has no receipt at this index")
            path = path[len(part) :]
            value, step = (step[1], None) if is_leaf else (None, step[1])
        else:
            raise ValueError("a node has neither 17 nor 2 items")
        if step is None:
            if path or nodes or not value:
                raise ValueError("the path ends elsewhere")
            return bytes(value)


def _hex_prefix(data: bytes) -> tuple[list[int], bool]:
    """The nibbles of a compact path, and whether a leaf follows."""
    nibbles = [nibble for byte in data for nibble in (byte >> 4, byte & 15)]
    flag = nibbles[0]
    if flag > 3 or (not flag & 1 and nibbles[1]):  # noqa: PLR2004 two bits: odd, leaf
        raise ValueError("a path in a node is not in its one form")
    return nibbles[1 if flag & 1 else 2 :], bool(flag & 2)


def signers_in(header: Header) -> tuple[bytes, ...]:
    """The addresses that a Clique header names as signers: a genesis, and every epoch block; ProofError elsewhere."""
    middle = header.extra_data[VANITY_BYTES:-SEAL_BYTES]
    if not middle or len(middle) % ADDRESS_BYTES:
        raise ProofError(f"block {header.number} names no signers")
    return tuple(middle[at : at + ADDRESS_BYTES] for at in range(0, len(middle), ADDRESS_BYTES))
