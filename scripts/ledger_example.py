"""Writes the worked example of docs/ledger.md: .venv/bin/python scripts/ledger_example.py."""

import textwrap
import zlib
from pathlib import Path
from typing import Any

from terang.ledger.batch import Item, encode
from terang.ledger.columns import unpack
from terang.ledger.merkle import inclusion_path, leaf_nodes, root_hash
from terang.values import cbor, envelope
from terang.values.envelope import EVENT, FIRST_PREVIOUS, READINGS, Envelope, device_id, envelope_hash
from terang.values.quantity import ENERGY_MWH, POWER_MW
from terang.values.reading import CLOCK_SYNCED, Event, Readings
from terang.values.record import ENVELOPE, leaf_hash
from terang.values.signing import KeyPair, sign_statement

TARGET = Path(__file__).resolve().parent.parent / "docs" / "ledger.md"
BEGIN, END = "<!-- written by scripts/ledger_example.py -->\n", "<!-- end of what it writes -->\n"
KEY = KeyPair(bytes(range(32)))
EPOCH = bytes.fromhex("0102030405060708")
NOW_MS = 1_763_600_000_000
SAID = (
    (READINGS, 1, 2000, Readings((0, 1000), {POWER_MW: (93_100, 93_000), ENERGY_MWH: (1_234_000, 1_234_000)})),
    (EVENT, 0, 3500, Event("bus_dead", 0)),
    (READINGS, 1, 5000, Readings((0,), {POWER_MW: (607_300,), ENERGY_MWH: (1_235_000,)})),
)
NAMES = (
    *("records", "streams", "stream_of", "raw_kinds", "raw_lengths", "raw_bytes", "sequences", "uptimes", "clocks"),
    *("utc_leads", "counts", "offset_steps", "values", "chain", "signatures"),
)
PACKED = {"stream_of": 3, "raw_lengths": 1, "sequences": 2, "uptimes": 2, "utc_leads": 2, "counts": 2}
WIDTH = 112


def items() -> list[Item]:
    """The three records: two envelopes with readings of meter 1, and an event of the device between them."""
    made: list[Item] = []
    previous = FIRST_PREVIOUS
    for sequence, (kind, meter, uptime_ms, body) in enumerate(SAID):
        head = (kind, device_id(KEY.public), EPOCH, sequence, previous, meter, 0, uptime_ms, NOW_MS + uptime_ms)
        data = sign_statement(KEY, envelope.encode_payload(Envelope(*head, CLOCK_SYNCED, body)))
        made.append(Item(ENVELOPE, data))
        previous = envelope_hash(data)
    return made


def block(data: bytes) -> str:
    """Bytes as lines of hex."""
    return "\n".join(textwrap.wrap(data.hex(), WIDTH))


def fields_of(batch: bytes) -> list[Any]:
    """The array inside a batch."""
    value = cbor.decode(zlib.decompress(batch[5:]))
    if not isinstance(value, list):
        raise TypeError("a batch holds an array")
    return value


def example() -> str:
    """The whole text between the marks."""
    records = items()
    batch = encode(records)
    leaves = [leaf_hash(item.kind, item.data) for item in records]
    nodes = leaf_nodes(leaves)
    lines = ["Public key of the device (its secret is the bytes 0 to 31):", "", f"`{KEY.public.hex()}`", ""]
    for position, (item, leaf) in enumerate(zip(records, leaves, strict=True)):
        lines += [f"Record {position}, kind {item.kind}, {len(item.data)} bytes; leaf `{leaf.hex()}`:", ""]
        lines += ["```text", block(item.data), "```", ""]
    lines += [f"The batch, {len(batch)} bytes (zlib may compress otherwise and be as right):", ""]
    lines += ["```text", block(batch), "```", "", "What it inflates to:", ""]
    lines += ["| | field | value |", "|---|---|---|"]
    for number, (name, value) in enumerate(zip(NAMES, fields_of(batch), strict=True)):
        lines.append(f"| {number} | {name} | {shown(name, value)} |")
    path = ", ".join(f"`{node.hex()}`" for node in inclusion_path(nodes, 1, 3))
    lines += ["", f"Root of the three: `{root_hash(nodes, 3).hex()}`", "", f"Inclusion path of record 1: {path}", ""]
    return "\n".join(lines)


def shown(name: str, value: Any) -> str:
    """One field in diagnostic form, a packed column with what it unpacks to."""
    if name in PACKED:
        return f"{hexed(value)} = {unpack(value, PACKED[name])}"
    if name == "offset_steps":
        return f"{hexed(value)} = {unpack(value, 1)}"
    if name == "values":
        return ", ".join(f"{code}: {hexed(column)} = {unpack(column, 3)}" for code, column in value.items())
    return diagnostic(value)


def diagnostic(value: Any) -> str:
    """A value as people write CBOR; a typed array as [...]."""
    if isinstance(value, bytes):
        return hexed(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(diagnostic, value))}]"
    return str(value)


def hexed(data: bytes) -> str:
    """Bytes in hex, long ones by their ends."""
    text = data.hex()
    return f"`{text}`" if len(data) <= WIDTH // 4 else f"`{text[:16]}…{text[-16:]}` ({len(data)} bytes)"


def page(text: str) -> str:
    """The page with the example of today."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{example()}\n{END}{tail}"


if __name__ == "__main__":
    TARGET.write_text(page(TARGET.read_text(encoding="utf-8")), encoding="utf-8")
