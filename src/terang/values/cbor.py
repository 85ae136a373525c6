"""Deterministic CBOR (RFC 8949 section 4.2) for the little that the device protocol needs, and typed arrays (RFC 8746).

One value has one byte form; every other form is refused as not canonical, because a second form of a signed statement
would have a second hash. Python values: int, bytes, str, None, list (an array), dict with unsigned keys (a map) and
tuple of int (a typed array: the narrowest of 8, 16, 32 or 64 bits that holds all, unsigned unless one is negative).

Portable: runs under MicroPython too.
"""

import struct

from terang.values.errors import CodecError, NotCanonical

__all__ = ["decode", "encode", "encode_column", "encode_head", "read_column", "read_head", "read_value"]

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_NULL = 0xF6
# RFC 8746 tag -> (struct letter, bytes an element, smallest maximum that needs this width, whether signed)
_TYPED = {
    64: ("B", 1, 0, False),
    65: ("H", 2, 1 << 8, False),
    66: ("I", 4, 1 << 16, False),
    67: ("Q", 8, 1 << 32, False),
    72: ("b", 1, 0, True),
    73: ("h", 2, 1 << 7, True),
    74: ("i", 4, 1 << 15, True),
    75: ("q", 8, 1 << 31, True),
}
_TYPED_HEAD = {tag: bytes((_TAG << 5 | 24, tag)) for tag in _TYPED}
_FLOOR = {1: 24, 2: 1 << 8, 4: 1 << 16, 8: 1 << 32}  # bytes of a number -> the smallest that needs them
_DEPTH_LIMIT = 8
_CUT = "the bytes end in the middle of a value"


def encode_head(major: int, number: int) -> bytes:
    """The shortest head of this major type: 1 to 9 bytes; `number` is 0 to 2**64 - 1."""
    top = major << 5
    if number < 24:
        return bytes((top | number,))
    if number < 1 << 8:
        return bytes((top | 24, number))
    if number < 1 << 16:
        return struct.pack(">BH", top | 25, number)
    if number < 1 << 32:
        return struct.pack(">BI", top | 26, number)
    if number < 1 << 64:
        return struct.pack(">BQ", top | 27, number)
    raise CodecError("a number over 64 bits cannot be encoded")


def encode_column(values: tuple[int, ...]) -> bytes:
    """A typed array of integers in the narrowest width; -2**63 to 2**64 - 1, but not both ends in one column."""
    low = min(values) if values else 0
    high = max(values) if values else 0
    if low < 0:
        tag = _signed_tag(low, high)
    elif high < 1 << 8:
        tag = 64
    elif high < 1 << 16:
        tag = 65
    elif high < 1 << 32:
        tag = 66
    else:
        tag = 67
    letter = _TYPED[tag][0]
    if high >= 1 << (63 if low < 0 else 64) or low < -(1 << 63):
        raise CodecError("a number over 64 bits cannot be encoded")
    body = struct.pack(">" + str(len(values)) + letter, *values)
    return _TYPED_HEAD[tag] + encode_head(_BYTES, len(body)) + body


def _signed_tag(low: int, high: int) -> int:
    reach = max(high, -low - 1)
    if reach < 1 << 7:
        return 72
    if reach < 1 << 15:
        return 73
    if reach < 1 << 31:
        return 74
    return 75


def encode(value: object) -> bytes:
    """The one byte form of `value`; CodecError for a type that the protocol does not have."""
    if value is None:
        return bytes((_NULL,))
    if isinstance(value, bool):
        raise CodecError("true and false are not in the protocol; use 0 and 1")
    if isinstance(value, int):
        return encode_head(_UNSIGNED, value) if value >= 0 else encode_head(_NEGATIVE, -1 - value)
    if isinstance(value, (bytes, bytearray)):
        return encode_head(_BYTES, len(value)) + bytes(value)
    if isinstance(value, str):
        text = value.encode("utf-8")
        return encode_head(_TEXT, len(text)) + text
    if isinstance(value, tuple):
        return encode_column(value)
    if isinstance(value, list):
        return encode_head(_ARRAY, len(value)) + b"".join([encode(item) for item in value])
    if isinstance(value, dict):
        parts = [encode_head(_MAP, len(value))]
        for key in sorted(value):
            if not isinstance(key, int) or key < 0:
                raise CodecError("a map key must be an unsigned integer")
            parts.append(encode_head(_UNSIGNED, key))
            parts.append(encode(value[key]))
        return b"".join(parts)
    raise CodecError("this type is not in the protocol: " + type(value).__name__)


def read_head(data: bytes, at: int) -> tuple[int, int, int]:
    """(major, number, position after) of the head at `at`; refuses longer forms and indefinite lengths."""
    if at >= len(data):
        raise CodecError(_CUT)
    first = data[at]
    at += 1
    number = first & 31
    if number < 24:
        return first >> 5, number, at
    if number > 27:
        raise NotCanonical("indefinite lengths and reserved heads are not allowed")
    size = 1 << (number - 24)
    end = at + size
    if end > len(data):
        raise CodecError(_CUT)
    number = int.from_bytes(data[at:end], "big")
    if number < _FLOOR[size]:
        raise NotCanonical("a number is not in its shortest form")
    return first >> 5, number, end


def read_column(data: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """(values, position after) of the typed array at `at`; refuses a wider type than the values need."""
    major, tag, at = read_head(data, at)
    if major != _TAG or tag not in _TYPED:
        raise CodecError("expected a typed array of integers")
    letter, size, floor, signed = _TYPED[tag]
    major, length, at = read_head(data, at)
    if major != _BYTES or length % size:
        raise CodecError("a typed array has a broken length")
    end = at + length
    if end > len(data):
        raise CodecError(_CUT)
    values = struct.unpack(">" + str(length // size) + letter, data[at:end])
    if signed:
        low = min(values) if values else 0
        if low >= 0 or _signed_tag(low, max(values)) != tag:
            raise NotCanonical("a typed array is wider than its values need")
    elif floor and (not values or max(values) < floor):
        raise NotCanonical("a typed array is wider than its values need")
    return values, end


def read_value(data: bytes, at: int, depth: int = 0) -> tuple:
    """(value, position after) of the item at `at`."""
    if depth > _DEPTH_LIMIT:
        raise CodecError("values are nested too deeply")
    if at < len(data) and data[at] == _NULL:
        return None, at + 1
    major, number, after = read_head(data, at)
    if major == _UNSIGNED:
        return number, after
    if major == _NEGATIVE:
        return -1 - number, after
    if major in (_BYTES, _TEXT):
        return _read_string(data, major, number, after)
    if major == _ARRAY:
        return _read_array(data, number, after, depth)
    if major == _MAP:
        return _read_map(data, number, after, depth)
    if major == _TAG:
        return read_column(data, at)
    raise CodecError("floats, true, false and undefined are not in the protocol")


def _read_string(data: bytes, major: int, length: int, at: int) -> tuple:
    end = at + length
    if end > len(data):
        raise CodecError(_CUT)
    raw = bytes(data[at:end])
    if major == _BYTES:
        return raw, end
    try:
        return raw.decode("utf-8"), end
    except (UnicodeError, ValueError) as error:
        raise CodecError("a text is not UTF-8") from error


def _read_array(data: bytes, count: int, at: int, depth: int) -> tuple:
    if count > len(data) - at:
        raise CodecError(_CUT)
    items = []
    for _ in range(count):
        item, at = read_value(data, at, depth + 1)
        items.append(item)
    return items, at


def _read_map(data: bytes, count: int, at: int, depth: int) -> tuple:
    result = {}
    last = -1
    for _ in range(count):
        major, key, at = read_head(data, at)
        if major != _UNSIGNED:
            raise CodecError("a map key must be an unsigned integer")
        if key <= last:
            raise NotCanonical("map keys must rise")
        last = key
        result[key], at = read_value(data, at, depth + 1)
    return result, at


def decode(data: bytes) -> object:
    """The one value that `data` stands for; CodecError where it is broken, NotCanonical where it has another form."""
    value, at = read_value(data, 0)
    if at != len(data):
        raise CodecError("there are bytes after the value")
    return value
