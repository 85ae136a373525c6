"""The envelope: signed bytes with readings or another statement of ONE meter, in exactly one byte form.

COSE_Sign1 (RFC 9052), tag 18, the fixed protected header {alg: EdDSA}, an empty unprotected header. The payload is a
deterministic CBOR array; docs/device-protocol.md has it in CDDL, with test vectors. Signing and verifying stand in
`signing`, which needs libsodium; this file is the part that a microcontroller shares.

Portable: runs under MicroPython too.
"""

import hashlib
from collections import namedtuple

from terang.values import cbor, reading
from terang.values.errors import CodecError, NotCanonical, TooLarge

__all__ = [
    "ATTESTED_BY",
    "DEVICE_ID_SIZE",
    "EVENT",
    "FIRST_PREVIOUS",
    "KIND_WORDS",
    "LOST",
    "MAX_BYTES",
    "READINGS",
    "SIGNING_CONTEXT",
    "TIME",
    "Envelope",
    "decode_payload",
    "device_id",
    "encode_payload",
    "envelope_hash",
    "seal",
    "signing_input",
    "split",
    "split_payload",
]

MAX_BYTES = 16384
DEVICE_ID_SIZE = 16
FIRST_PREVIOUS = bytes(32)
SIGNING_CONTEXT = b"terang/v1/envelope"

READINGS = reading.READINGS
LOST = reading.LOST
TIME = reading.TIME
EVENT = reading.EVENT
KIND_WORDS = {READINGS: "readings", LOST: "lost", TIME: "time", EVENT: "event"}
ATTESTED_BY = ("device", "gateway", "platform")

_VERSION = 1
_FIELDS = 11
# the array's head counts all fields; then the version; the strings' heads are those of 16, 8 and 32 bytes
_PAYLOAD_HEAD = bytes((0x80 | _FIELDS + 1, _VERSION))
_DEVICE_HEAD, _EPOCH_HEAD, _PREVIOUS_HEAD = b"\x50", b"\x48", b"\x58\x20"
# tag 18, array of 4, the protected header h'a10127' as a byte string, an empty map
_COSE_PREFIX = b"\xd2\x84\x43\xa1\x01\x27\xa0"
_SIGNATURE_HEAD = b"\x58\x40"
_TAIL = 66
_STRUCTURE_PREFIX = b"\x84\x6aSignature1\x43\xa1\x01\x27"

Envelope = namedtuple(
    "Envelope",
    (
        "kind",
        "device",
        "epoch",
        "sequence",
        "previous",
        "meter",
        "attested_by",
        "uptime_ms",
        "utc_ms",
        "clock",
        "body",
    ),
)
"""What an envelope says. `kind`: READINGS, LOST, TIME or EVENT. `device`: 16 bytes, `epoch`: 8 bytes, `sequence` from
0 in its epoch, `previous`: envelope_hash of the one before (32 zero bytes for the very first), `meter`: the address on
the device, `attested_by`: index into ATTESTED_BY. `uptime_ms`, `utc_ms` (None while unknown) and `clock` are the
moment of the first reading."""


def device_id(public_key: bytes) -> bytes:
    """The name of a device: the first 16 bytes of the SHA-256 of its 32-byte Ed25519 public key."""
    return hashlib.sha256(public_key).digest()[:DEVICE_ID_SIZE]


def encode_payload(envelope: Envelope) -> bytes:
    """The bytes that are signed as payload; CodecError where the envelope breaks a rule of its own."""
    e = envelope
    _check_fields(e.device, e.epoch, e.previous, e.attested_by, e.utc_ms, e.clock)
    if min(e.kind, e.sequence, e.meter, e.attested_by, e.uptime_ms, e.clock) < 0:
        raise CodecError("a field must be an unsigned number")
    parts = (
        _PAYLOAD_HEAD,
        cbor.encode_head(0, e.kind),
        _DEVICE_HEAD,
        e.device,
        _EPOCH_HEAD,
        e.epoch,
        cbor.encode_head(0, e.sequence),
        _PREVIOUS_HEAD,
        e.previous,
        cbor.encode_head(0, e.meter),
        cbor.encode_head(0, e.attested_by),
        cbor.encode_head(0, e.uptime_ms),
        cbor.encode(e.utc_ms),
        cbor.encode_head(0, e.clock),
        reading.encode_body(e.body),  # last, so that a reader can slice it out unparsed
    )
    return b"".join(parts)


def split_payload(payload: bytes) -> tuple:
    """(fields before the body as a tuple in Envelope's order, position of the body)."""
    major, count, at = cbor.read_head(payload, 0)
    if major != 4 or count != _FIELDS + 1:
        raise CodecError("the payload is an array of twelve")
    version, at = cbor.read_value(payload, at)
    if version != _VERSION:
        raise CodecError("this version of the device protocol is not known")
    kind, at = _read_unsigned(payload, at)
    device, at = _read_bytes(payload, at)
    epoch, at = _read_bytes(payload, at)
    sequence, at = _read_unsigned(payload, at)
    previous, at = _read_bytes(payload, at)
    meter, at = _read_unsigned(payload, at)
    attested_by, at = _read_unsigned(payload, at)
    uptime_ms, at = _read_unsigned(payload, at)
    utc_ms, at = cbor.read_value(payload, at)
    clock, at = _read_unsigned(payload, at)
    _check_fields(device, epoch, previous, attested_by, utc_ms, clock)
    return (kind, device, epoch, sequence, previous, meter, attested_by, uptime_ms, utc_ms, clock), at


def decode_payload(payload: bytes) -> Envelope:
    """The envelope that the payload stands for; CodecError where it is not one."""
    fields, at = split_payload(payload)
    body, at = reading.decode_body(fields[0], payload, at)
    if at != len(payload):
        raise CodecError("there are bytes after the body")
    return Envelope(*(fields + (body,)))


def signing_input(payload: bytes, context: bytes = SIGNING_CONTEXT) -> bytes:
    """The COSE Sig_structure: what the Ed25519 signature is made over. `context` keeps one kind of statement from
    passing as another.
    """
    return (
        _STRUCTURE_PREFIX + cbor.encode_head(2, len(context)) + context + cbor.encode_head(2, len(payload)) + payload
    )


def seal(payload: bytes, signature: bytes) -> bytes:
    """The exact bytes of a signed statement; TooLarge over 16 kB."""
    data = _COSE_PREFIX + cbor.encode_head(2, len(payload)) + payload + _SIGNATURE_HEAD + signature
    if len(data) > MAX_BYTES:
        raise TooLarge("an envelope may have 16384 bytes; put fewer readings into one")
    return data


def split(data: bytes) -> tuple[bytes, bytes]:
    """(payload, signature) of a signed statement; refuses every form but the one that `seal` makes."""
    if len(data) > MAX_BYTES:
        raise TooLarge("an envelope may have 16384 bytes; put fewer readings into one")
    if data[: len(_COSE_PREFIX)] != _COSE_PREFIX:
        if data[:2] == b"\xd2\x84":
            raise NotCanonical("the COSE headers are not the fixed ones")
        raise CodecError("this is not a COSE_Sign1 with tag 18")
    major, length, at = cbor.read_head(data, len(_COSE_PREFIX))
    end = at + length
    if major != 2 or end + _TAIL != len(data) or data[end : end + 2] != _SIGNATURE_HEAD:
        raise CodecError("the payload or the signature has a broken length")
    return bytes(data[at:end]), bytes(data[end + 2 :])


def envelope_hash(data: bytes) -> bytes:
    """What the next envelope carries as `previous`: its leaf hash in the log, SHA-256(0x00, 0x01, these exact bytes).

    One hash serves the device's chain and the log, so that a proof of one is a proof of the other.
    """
    return hashlib.sha256(b"\x00\x01" + data).digest()


def _check_fields(
    device: bytes, epoch: bytes, previous: bytes, attested_by: int, utc_ms: object, clock: int
) -> None:
    if len(device) != DEVICE_ID_SIZE or len(epoch) != 8 or len(previous) != 32:
        raise CodecError("device, epoch or previous hash has a wrong length")
    if attested_by >= len(ATTESTED_BY):
        raise CodecError("attested_by is not known: " + str(attested_by))
    if clock >= len(reading.CLOCK_WORDS):
        raise CodecError("how the clock is known is not known: " + str(clock))
    if (utc_ms is None) != (clock == reading.CLOCK_UNKNOWN):
        raise CodecError("UTC stands exactly where the clock is known")
    if utc_ms is not None and not isinstance(utc_ms, int):
        raise CodecError("UTC is a number of milliseconds")


def _read_unsigned(data: bytes, at: int) -> tuple[int, int]:
    major, number, at = cbor.read_head(data, at)
    if major != 0:
        raise CodecError("a field must be an unsigned number")
    return number, at


def _read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    major, length, at = cbor.read_head(data, at)
    end = at + length
    if major != 2 or end > len(data):
        raise CodecError("a field must be a byte string")
    return bytes(data[at:end]), end
