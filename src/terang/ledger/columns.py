"""Columns of whole numbers as few bytes: differences, folded to unsigned, cut into byte planes for zlib to find.

Form of a column: one byte with the width w in bytes (0 to 8), then w planes of n bytes each, most significant first;
element i is the zigzag form of its difference to element i - 1 (to 0 for the first), modulo 2**64.
"""

from collections.abc import Sequence

import numpy as np

from terang.values.errors import BatchUnfaithful

__all__ = ["pack", "unpack"]

_WIDEST = 8


def pack(values: Sequence[int]) -> bytes:
    """The column's bytes; the values fit into 64 bits signed."""
    if not values:
        return b"\x00"
    array = np.array(values, dtype=np.int64)
    steps = np.diff(array, prepend=np.int64(0))
    folded = (steps.astype(np.uint64) << np.uint64(1)) ^ (steps >> np.int64(63)).astype(np.uint64)
    width = (int(folded.max()).bit_length() + 7) // 8
    planes = folded.astype(">u8").view(np.uint8).reshape(len(values), 8).T[8 - width :]
    return bytes((width,)) + planes.tobytes()


def unpack(data: bytes, count: int) -> list[int]:
    """The `count` values of a column; BatchUnfaithful where the bytes are not that column."""
    if not data or data[0] > _WIDEST or len(data) != 1 + data[0] * count:
        raise BatchUnfaithful("a column has the wrong number of bytes")
    width = data[0]
    if not count:
        return []
    planes = np.zeros((8, count), dtype=np.uint8)
    if width:
        planes[8 - width :] = np.frombuffer(data, dtype=np.uint8, offset=1).reshape(width, count)
    folded = np.ascontiguousarray(planes.T).view(">u8").reshape(count).astype(np.uint64)
    steps = (folded >> np.uint64(1)).astype(np.int64) ^ -(folded & np.uint64(1)).astype(np.int64)
    values: list[int] = np.cumsum(steps, dtype=np.int64).tolist()
    return values
