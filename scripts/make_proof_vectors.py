"""Writes tests/vectors/proof.json anew: .venv/bin/python scripts/make_proof_vectors.py."""

import json
import tempfile
from pathlib import Path
from typing import Any

from terang.ledger.clique import Header, seal_header
from terang.ledger.packed import pack_bytes, unpack_bytes
from terang.ledger.proof import check_proof, document_text
from terang.serve.pages import Pages
from terang.testing import MEMORY_SIGNER, FakeDevice, MiniPlatform, moment
from terang.values.command import AddRoom, AddUser, ConfirmBinding, PlaceMeter, StartTenancy

TARGET = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "proof.json"
NOW_MS = 1_763_600_000_000


def main() -> None:
    """A house of forty records, four good proofs, and each of them spoilt at every step."""
    with tempfile.TemporaryDirectory() as folder, MiniPlatform(Path(folder)) as platform:
        device = FakeDevice(1)
        platform.order(AddUser(name="budi", password_hash="$argon2id$x", role="tenant"))  # noqa: S106 no password
        platform.adopt(device)
        platform.order(AddRoom(name="Kamar 1"))
        platform.order(PlaceMeter(device=device.id.hex(), address=1, room="Kamar 1"))
        platform.order(StartTenancy(room="Kamar 1", user="budi", from_ms=NOW_MS - 900_000))
        for i in range(30):
            values = [moment(1000 * i + k, 200_000 + k) for k in range(3)]
            platform.take(device.readings(values, utc_ms=NOW_MS - 600_000 + 3000 * i))
        platform.take(device.readings([moment(1)], utc_ms=None, uptime_ms=5))
        platform.take(device.event("bus_dead", 3))
        platform.order(ConfirmBinding(device=device.id.hex(), address=1), by="budi")
        platform.anchor()
        pages = Pages(platform.log, platform.chain, platform.clock)
        asked = ((12, 2, 7), (35, 0, None), (36, 0, 20), (1, 0, None))
        good = [proof.document for at in asked if (proof := pages.proof(*at)) is not None]
    vectors = {
        "good": [{"shows": shown(document), "text": document_text(document)} for document in good],
        "bad": [{"step": step, "text": document_text(spoilt)} for step, spoilt in spoil(good[0])]
        + [{"step": "form", "text": document_text(good[0])[:-1]}]
        + [{"step": "form", "text": document_text(good[0]).replace(":", ": ", 1)}],
    }
    TARGET.write_text(json.dumps(vectors, indent=1) + "\n")


def shown(document: dict[str, Any]) -> dict[str, Any]:
    """What a checker may say of it."""
    checked = check_proof(document)
    return {
        "position": checked.subject.position,
        "size": checked.checkpoint.size,
        "root": checked.checkpoint.root.hex(),
        "reading": checked.reading,
        "bindings": [bound.act.name for bound in checked.bindings],
        "block_number": checked.block_number,
    }


def spoil(good: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """One thing changed, and the step that notices."""
    changes: list[tuple[str, tuple[str | int, ...], Any]] = [
        ("form", ("format",), "terang-proof-1"),
        ("form", ("path",), good["path"][::-1]),
        ("form", ("anchor", "contract"), good["anchor"]["contract"].upper()),
        ("signature", ("record", "public_key"), "00" * 32),
        ("reading", ("reading", "values", "power_mw"), 1),
        ("reading", ("reading", "index"), 1),
        ("checkpoint", ("checkpoint_key",), good["platform_key"]),
        ("inclusion", ("record", "position"), good["record"]["position"] + 1),
        ("bindings", ("platform_key",), good["checkpoint_key"]),
        ("event", ("anchor", "contract"), "11" * 20),
        ("event", ("anchor", "site"), "11" * 32),
        ("event", ("anchor", "transaction_index"), 1),
        ("seal", ("anchor", "block_number"), 9),
        ("seal", ("anchor", "block_hash"), "11" * 32),
        ("genesis", ("anchor", "genesis_hash"), "11" * 32),
        ("head", ("since", "root"), "11" * 32),
    ]
    spoilt = []
    for step, path, value in changes:
        document = json.loads(json.dumps(good))
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        spoilt.append((step, document))
    foreign = json.loads(json.dumps(good))
    header = Header.decode(unpack_bytes(good["anchor"]["header"]))
    sealed = seal_header(header, type(MEMORY_SIGNER)(b"\x66" * 32))
    foreign["anchor"] |= {"header": pack_bytes(sealed.encode()), "block_hash": sealed.hash.hex()}
    return [*spoilt, ("seal", foreign)]


if __name__ == "__main__":
    main()
