#!/usr/bin/env python3
"""Writes tests/vectors/envelope.json: what a device and a platform say byte for byte, and what they must refuse.

    make_vectors.py [FILE]

The keys are published here and protect nothing.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from terang.values import cbor, envelope
from terang.values.envelope import Envelope, decode_payload, device_id, encode_payload, envelope_hash, split
from terang.values.errors import TerangError
from terang.values.reading import Event, Lost, Readings, TimeFix
from terang.values.receipt import CONTEXT, EpochReceipt, Receipt, Resend, decode_down, encode_down
from terang.values.signing import KeyPair, open_statement, sign_statement

DEFAULT = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "envelope.json"
DEVICE = KeyPair(bytes(range(32)))
PLATFORM = KeyPair(bytes(range(32, 64)))
STRANGER = KeyPair(bytes(range(64, 96)))
DEVICE_ID = device_id(DEVICE.public)
EPOCH = bytes.fromhex("0102030405060708")
OLD_EPOCH = bytes.fromhex("a1a2a3a4a5a6a7a8")
NOW_MS = 1_763_600_000_000
ORDER_OF_THE_GROUP = 2**252 + 27742317777372353535851937790883648493

V, A, P, E, F, PF = 1, 2, 3, 4, 5, 6
ONE = Readings((0,), {V: (221300,), A: (431,), P: (93100,), E: (1234000,), F: (50000,), PF: (980,)})
THREE = Readings(
    (0, 1002, 2001),
    {
        V: (221300, 221100, 220900),
        A: (431, 431, 2750),
        P: (93100, 93000, 607300),
        E: (1234000, 1234000, 1235000),
        F: (50000, 50000, 49900),
        PF: (980, 980, 1000),
    },
)
MANY = Readings(tuple(range(0, 300_000, 1000)), {P: tuple(range(0, 300_000, 1000))})


class Said(NamedTuple):
    """One good envelope before it is signed."""

    name: str
    kind: int
    meter: int
    uptime_ms: int
    utc_ms: int | None
    clock: int
    body: Any


GOOD = (
    Said("event: the process began", 4, 0, 0, None, 0, Event("boot", 0)),
    Said("time: the calendar became known", 3, 0, 4210, NOW_MS, 1, TimeFix(EPOCH, 4210, NOW_MS, 1)),
    Said("readings: one", 1, 1, 5000, NOW_MS + 790, 1, ONE),
    Said("readings: three", 1, 1, 6000, NOW_MS + 1790, 1, THREE),
    Said("readings: time unknown", 1, 257, 9000, None, 0, ONE),
    Said("readings: time held by an RTC", 1, 257, 9000, NOW_MS, 2, ONE),
    Said("readings: negative power", 1, 2, 10_000, NOW_MS, 1, Readings((0, 200), {P: (-93100, 120), V: (0, 255)})),
    Said(
        *("readings: every signed width", 1, 2, 10_001, NOW_MS, 1),
        Readings((0,), {1: (-128,), 2: (-129,), 3: (-32769,), 4: (-(2**31) - 1,)}),
    ),
    Said(
        "readings: every unsigned width",
        1,
        2,
        10_002,
        NOW_MS,
        1,
        Readings((0,), {1: (255,), 2: (256,), 3: (65536,), 4: (2**32,)}),
    ),
    Said(
        "readings: a counter of 64 bits",
        1,
        2,
        70_000,
        NOW_MS,
        1,
        Readings((0,), {E: (9_999_999_999_999_000,), P: (0,)}),
    ),
    Said("readings: 300 of one quantity", 1, 65535, 2**32, NOW_MS, 1, MANY),
    Said(
        "lost: the frame that was being read",
        2,
        1,
        500_000,
        NOW_MS,
        1,
        Lost(OLD_EPOCH, 77, 77, 81_200, 83_200, 1, "killed"),
    ),
    Said("lost: envelopes", 2, 0, 500_001, NOW_MS, 1, Lost(OLD_EPOCH, 70, 76, 0, 0, 0, "outbox_broken")),
    Said("event: with a negative number", 4, 2, 600_000, NOW_MS, 1, Event("temperature_mc", -4500)),
    Said("event: the longest name", 4, 0, 600_000, NOW_MS, 1, Event("x" * 40, 2**63)),
)


def fields_of(e: Envelope) -> dict[str, Any]:
    """An envelope as JSON: bytes in hex, columns by code."""
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in e._asdict().items()}
    body = {name: value.hex() if isinstance(value, bytes) else value for name, value in e.body._asdict().items()}
    return plain | {"body": body}


def good() -> list[dict[str, Any]]:
    """The good envelopes as one chain of one epoch."""
    found = []
    previous = envelope.FIRST_PREVIOUS
    for sequence, s in enumerate(GOOD):
        e = Envelope(s.kind, DEVICE_ID, EPOCH, sequence, previous, s.meter, 0, s.uptime_ms, s.utc_ms, s.clock, s.body)
        payload = encode_payload(e)
        signed = sign_statement(DEVICE, payload)
        if decode_payload(payload) != e:
            raise SystemExit(f"{s.name} does not come back as it was")
        previous = envelope_hash(signed)
        found.append(
            {
                "name": s.name,
                "fields": fields_of(e),
                "payload": payload.hex(),
                "signing_input": envelope.signing_input(payload).hex(),
                "signed": signed.hex(),
                "hash": previous.hex(),
            }
        )
    return found


class Parts:
    """The payload of a good envelope with one reading, field by field, each of which can be exchanged for bytes."""

    NAMES = (
        "version",
        "kind",
        "device",
        "epoch",
        "sequence",
        "previous",
        "meter",
        "attested_by",
        "uptime",
        "utc",
        "clock",
    )

    def __init__(self) -> None:
        values = (1, 1, DEVICE_ID, EPOCH, 5, bytes(32), 1, 0, 5000, NOW_MS, 1)
        self.parts = dict(zip(self.NAMES, map(cbor.encode, values), strict=True))
        self.body = cbor.encode([(0,), {V: (255,)}])

    def payload(self, head: bytes = b"\x8c", tail: bytes = b"", **other: bytes) -> bytes:
        """All parts in order, with those in `other` exchanged."""
        body = other.pop("body", self.body)
        return head + b"".join((self.parts | other).values()) + body + tail


def column(tag: int, data: bytes) -> bytes:
    """A typed array with this tag, whatever its values would need."""
    return cbor.encode_head(6, tag) + cbor.encode_head(2, len(data)) + data


def readings(offsets: bytes, columns: bytes) -> bytes:
    """A body of readings from encoded offsets and an encoded map."""
    return b"\x82" + offsets + columns


def refused_payloads() -> dict[str, bytes]:
    """Payloads that are signed well and must be refused for what they say, or for how."""
    p = Parts()
    zero = column(64, b"\x00")
    one = b"\xa1\x01" + column(64, b"\xff")
    lost = [OLD_EPOCH, 1, 2, 3, 4, 5, "killed"]
    return {
        "the array is of indefinite length": p.payload(b"\x9f", b"\xff"),
        "eleven fields": b"\x8b" + p.payload()[1 : -len(p.body)],
        "bytes after the body": p.payload(tail=b"\x00"),
        "cut off in the middle": p.payload()[:-1],
        "version 2": p.payload(version=b"\x02"),
        "kind 9": p.payload(kind=b"\x09"),
        "the device id has 15 bytes": p.payload(device=cbor.encode(bytes(15))),
        "the epoch has 7 bytes": p.payload(epoch=cbor.encode(bytes(7))),
        "the epoch is a number": p.payload(epoch=b"\x05"),
        "the previous hash has 31 bytes": p.payload(previous=cbor.encode(bytes(31))),
        "the sequence is 5 in two bytes": p.payload(sequence=b"\x18\x05"),
        "the sequence is 5 in nine bytes": p.payload(sequence=b"\x1b" + (5).to_bytes(8, "big")),
        "the sequence is negative": p.payload(sequence=b"\x20"),
        "the sequence is a float": p.payload(sequence=b"\xf9\x45\x00"),
        "attested by 3": p.payload(attested_by=b"\x03"),
        "clock 3": p.payload(clock=b"\x03"),
        "no UTC, but a synced clock": p.payload(utc=b"\xf6"),
        "UTC, but an unknown clock": p.payload(clock=b"\x00"),
        "UTC is a text": p.payload(utc=cbor.encode("now")),
        "UTC is true": p.payload(utc=b"\xf5"),
        "UTC is undefined": p.payload(utc=b"\xf7", clock=b"\x00"),
        "no readings": p.payload(body=readings(column(64, b""), b"\xa1\x01" + column(64, b""))),
        "the first offset is not 0": p.payload(body=readings(column(64, b"\x01"), one)),
        "two readings at one moment": p.payload(
            body=readings(column(64, bytes(2)), b"\xa1\x01" + column(64, b"\x01\x02"))
        ),
        "offsets fall": p.payload(body=readings(column(64, b"\x00\x05\x04"), b"\xa1\x01" + column(64, bytes(3)))),
        "no columns": p.payload(body=readings(zero, b"\xa0")),
        "a column is shorter than the offsets": p.payload(body=readings(column(64, b"\x00\x01"), one)),
        "a column is a plain array": p.payload(body=readings(zero, b"\xa1\x01\x81\x05")),
        "a column of 8-bit values in 16 bits": p.payload(body=readings(zero, b"\xa1\x01" + column(65, b"\x00\xff"))),
        "a column of 16-bit values in 64 bits": p.payload(
            body=readings(zero, b"\xa1\x01" + column(67, bytes(6) + b"\x01\x00"))
        ),
        "a column without a negative value, signed": p.payload(body=readings(zero, b"\xa1\x01" + column(72, b"\x05"))),
        "a column of -1 in 16 bits": p.payload(body=readings(zero, b"\xa1\x01" + column(73, b"\xff\xff"))),
        "a column in little-endian order": p.payload(body=readings(zero, b"\xa1\x01" + column(69, b"\x00\x01"))),
        "a column of floats": p.payload(body=readings(zero, b"\xa1\x01" + column(81, bytes(4)))),
        "a column of 16 bits with 3 bytes": p.payload(body=readings(zero, b"\xa1\x01" + column(65, bytes(3)))),
        "the tag of a column in three bytes": p.payload(body=readings(zero, b"\xa1\x01\xd9\x00\x40\x41\xff")),
        "quantities fall": p.payload(
            body=readings(zero, b"\xa2\x02" + column(64, b"\x01") + b"\x01" + column(64, b"\x01"))
        ),
        "a quantity twice": p.payload(body=readings(zero, b"\xa2" + 2 * (b"\x01" + column(64, b"\x01")))),
        "a quantity is 1 in two bytes": p.payload(body=readings(zero, b"\xa1\x18\x01" + column(64, b"\xff"))),
        "a quantity is a text": p.payload(body=readings(zero, b"\xa1\x61v" + column(64, b"\xff"))),
        "a body of three": p.payload(body=b"\x83" + zero + one + b"\x00"),
        "lost: six fields": p.payload(kind=b"\x02", body=cbor.encode(lost[:6])),
        "lost: sequences backwards": p.payload(kind=b"\x02", body=cbor.encode([OLD_EPOCH, 3, 2, 3, 4, 5, "killed"])),
        "lost: uptime backwards": p.payload(kind=b"\x02", body=cbor.encode([OLD_EPOCH, 1, 2, 4, 3, 5, "killed"])),
        "lost: an epoch of 7 bytes": p.payload(kind=b"\x02", body=cbor.encode([bytes(7), *lost[1:]])),
        "lost: negative reads": p.payload(kind=b"\x02", body=cbor.encode([*lost[:5], -1, "killed"])),
        "lost: the reason is a number": p.payload(kind=b"\x02", body=cbor.encode([*lost[:6], 1])),
        "lost: the reason is not UTF-8": p.payload(
            kind=b"\x02",
            body=cbor.encode(lost[:6])[:1].replace(b"\x86", b"\x87") + cbor.encode(lost[:6])[1:] + b"\x62\xff\xfe",
        ),
        "time: by an unknown clock": p.payload(kind=b"\x03", body=cbor.encode([EPOCH, 1, 2, 0])),
        "time: three fields": p.payload(kind=b"\x03", body=cbor.encode([EPOCH, 1, 2])),
        "time: before 1970": p.payload(kind=b"\x03", body=cbor.encode([EPOCH, 1, -2, 1])),
        "event: without a name": p.payload(kind=b"\x04", body=cbor.encode(["", 0])),
        "event: a name of 41": p.payload(kind=b"\x04", body=cbor.encode(["x" * 41, 0])),
        "event: the number is a text": p.payload(kind=b"\x04", body=cbor.encode(["boot", "0"])),
        "event: a map": p.payload(kind=b"\x04", body=b"\xa1\x01\x02"),
        "event: nested without end": p.payload(kind=b"\x04", body=b"\x81" * 200 + b"\x80"),
    }


def refused_statements() -> dict[str, bytes]:
    """Statements that must be refused before anybody looks at their payload."""
    payload = Parts().payload()
    whole = sign_statement(DEVICE, payload)
    signature = whole[-64:]
    head = cbor.encode_head(2, len(payload))

    def cose(start: str, length: bytes = head, tail: bytes = b"\x58\x40" + signature) -> bytes:
        return bytes.fromhex(start) + length + payload + tail

    s = int.from_bytes(signature[32:], "little") + ORDER_OF_THE_GROUP
    return {
        "nothing": b"",
        "without tag 18": whole[1:],
        "tag 17": b"\xd1" + whole[1:],
        "tag 18 in two bytes": b"\xd8\x12" + whole[1:],
        "another algorithm in the protected header": cose("d28443a10126a0"),
        "a key id in the protected header": cose("d28446a20127044101a0"),
        "an empty protected header": cose("d28440a0"),
        "something in the unprotected header": cose("d28443a10127a1044101"),
        "the length of the payload in four bytes": cose("d28443a10127a0", b"\x5a" + len(payload).to_bytes(4, "big")),
        "no payload": bytes.fromhex("d28443a10127a0f65840") + signature,
        "a signature of 63 bytes": cose("d28443a10127a0", tail=b"\x58\x3f" + signature[:-1]),
        "bytes after the signature": whole + b"\x00",
        "the last byte is missing": whole[:-1],
        "one bit of the payload": whole[:60] + bytes((whole[60] ^ 1,)) + whole[61:],
        "one bit of the signature": whole[:-1] + bytes((whole[-1] ^ 1,)),
        "signed by a stranger": sign_statement(STRANGER, payload),
        "signed as a message down": sign_statement(DEVICE, payload, CONTEXT),
        "the signature's second form (S plus the order of the group)": whole[:-32] + s.to_bytes(32, "little"),
    }


def why_refused(data: bytes) -> dict[str, str]:
    """The error that this project's own reader gives for an envelope of the device."""
    try:
        split(data)
        decode_payload(open_statement(DEVICE.public, data))
    except TerangError as error:
        return {"error": type(error).__name__, "says": str(error)}
    raise SystemExit(f"nobody refuses {data.hex()}")


def refused() -> list[dict[str, str]]:
    """What a platform must refuse, with the reason."""
    found = [{"name": name, "signed": data.hex(), **why_refused(data)} for name, data in refused_statements().items()]
    for name, payload in refused_payloads().items():
        data = sign_statement(DEVICE, payload)
        found.append({"name": name, "payload": payload.hex(), "signed": data.hex(), **why_refused(data)})
    return found


def down() -> list[dict[str, Any]]:
    """What the platform says to the device."""
    messages: dict[str, Receipt | Resend] = {
        "receipt: one epoch": Receipt(DEVICE_ID, (EpochReceipt(EPOCH, 12, 9),)),
        "receipt: two epochs": Receipt(DEVICE_ID, (EpochReceipt(OLD_EPOCH, 77, 77), EpochReceipt(EPOCH, 300, 0))),
        "receipt: nothing yet": Receipt(DEVICE_ID, ()),
        "resend": Resend(DEVICE_ID, EPOCH, 3, 7),
        "receipt: for another device": Receipt(device_id(STRANGER.public), (EpochReceipt(EPOCH, 12, 12),)),
    }
    found = []
    for name, message in messages.items():
        payload = encode_down(message)
        if decode_down(payload) != message:
            raise SystemExit(f"{name} does not come back as it was")
        signed = sign_statement(PLATFORM, payload, CONTEXT)
        found.append({"name": name, "payload": payload.hex(), "signed": signed.hex()} | shown(message))
    return found


def shown(message: Receipt | Resend) -> dict[str, Any]:
    """A message down as JSON."""
    if isinstance(message, Resend):
        numbers = {"first_sequence": message.first_sequence, "end_sequence": message.end_sequence}
        return {"kind": "resend", "device": message.device.hex(), "epoch": message.epoch.hex(), **numbers}
    epochs = [[item.epoch.hex(), item.stored_end, item.anchored_end] for item in message.epochs]
    return {"kind": "receipt", "device": message.device.hex(), "epochs": epochs}


def down_refused() -> list[dict[str, str]]:
    """What a device must refuse. The last is signed well and must change nothing, because it is not for this device."""
    payload = encode_down(Receipt(DEVICE_ID, (EpochReceipt(EPOCH, 12, 12),)))
    statements = {
        "signed by the device itself": sign_statement(DEVICE, payload, CONTEXT),
        "signed as an envelope": sign_statement(PLATFORM, payload),
        "version 2": signed_down([2, 1, DEVICE_ID, []]),
        "kind 3": signed_down([1, 3, DEVICE_ID, []]),
        "an epoch of 7 bytes": signed_down([1, 1, DEVICE_ID, [[bytes(7), 1, 1]]]),
        "a negative sequence": signed_down([1, 1, DEVICE_ID, [[EPOCH, -1, 0]]]),
        "a resend without its end": signed_down([1, 2, DEVICE_ID, EPOCH, 1]),
        "bytes after the message": sign_statement(PLATFORM, payload + b"\x00", CONTEXT),
        "one bit": flipped(sign_statement(PLATFORM, payload, CONTEXT)),
    }
    found = []
    for name, data in statements.items():
        try:
            decode_down(open_statement(PLATFORM.public, data, CONTEXT))
        except TerangError as error:
            found.append({"name": name, "signed": data.hex(), "error": type(error).__name__, "says": str(error)})
        else:
            raise SystemExit(f"nobody refuses {name}")
    return found


def signed_down(value: list[object]) -> bytes:
    """Any value as a statement of the platform."""
    return sign_statement(PLATFORM, cbor.encode(value), CONTEXT)


def flipped(data: bytes) -> bytes:
    """The same with one bit of the signature changed."""
    return data[:-1] + bytes((data[-1] ^ 1,))


def key_of(pair: KeyPair) -> dict[str, str]:
    """A key, its secret too."""
    return {"seed": pair.seed.hex(), "public": pair.public.hex(), "id": device_id(pair.public).hex()}


def main() -> None:
    """Write the file."""
    target = Path(sys.argv[1]) if sys.argv[1:] else DEFAULT
    vectors = {
        "about": "docs/device-protocol.md explains these; scripts/make_vectors.py writes them. All bytes are in hex.",
        "device": key_of(DEVICE),
        "platform": key_of(PLATFORM),
        "context_up": envelope.SIGNING_CONTEXT.decode(),
        "context_down": CONTEXT.decode(),
        "good": good(),
        "refused": refused(),
        "down": down(),
        "down_refused": down_refused(),
    }
    target.write_text(json.dumps(vectors, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
