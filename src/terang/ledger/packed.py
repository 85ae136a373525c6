"""Bytes as text in a proof: base64 (RFC 4648, no padding) over bytes whose runs of zeros are counted.

Headers and receipts of a block are half zeros, because of their bloom filters. A zero byte is followed by one byte
that says how many more zeros come (0 to 255); every other byte stands for itself. There is one form: runs are as long
as they can be.
"""

import base64
import binascii

from terang.values.errors import ProofError

__all__ = ["pack_bytes", "unpack_bytes"]

_RUN = 256


def pack_bytes(data: bytes) -> str:
    """The text for these bytes."""
    return base64.b64encode(_cut(data)).decode().rstrip("=")


def unpack_bytes(text: object) -> bytes:
    """The bytes of such a text; ProofError where it is not in its one form."""
    if not isinstance(text, str):
        raise ProofError("a field that should hold bytes holds something else")
    try:
        data = _fill(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except (binascii.Error, ValueError, IndexError) as error:
        raise ProofError(f"a field holds no packed bytes: {error}") from error
    if pack_bytes(data) != text:
        raise ProofError("a field's bytes are not packed in their one form")
    return data


def _cut(data: bytes) -> bytes:
    out, at = bytearray(), 0
    while at < len(data):
        if data[at]:
            out.append(data[at])
            at += 1
            continue
        end = at
        while end < len(data) and end - at < _RUN and not data[end]:
            end += 1
        out += bytes((0, end - at - 1))
        at = end
    return bytes(out)


def _fill(data: bytes) -> bytes:
    out, at = bytearray(), 0
    while at < len(data):
        if data[at]:
            out.append(data[at])
            at += 1
        else:
            out += bytes(data[at + 1] + 1)
            at += 2
    return bytes(out)
