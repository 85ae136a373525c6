"""`terang proof` and `terang verify`: a record's proof, and checking one without the store."""

import json
import sys
from pathlib import Path

import click

from terang.app import open_pages
from terang.cli.options import as_json, data_option, existing, json_option
from terang.ledger.proof import Checked, check_anchor, check_proof
from terang.ledger.rpc_chain import RpcChain
from terang.values.envelope import ATTESTED_BY, KIND_WORDS
from terang.values.errors import ProofError, UsageError
from terang.values.quantity import BY_CODE
from terang.values.reading import Readings

__all__ = ["proof", "verify"]


@click.command()
@click.argument("position", type=click.IntRange(0, 1 << 53))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the proof here.")
@data_option
def proof(position: int, out: Path | None, data: Path) -> None:
    """Write the proof of the record at POSITION of the log, as one JSON document.

    The pages name the position beside every reading. Check the document with `terang verify`.
    """
    found = open_pages(existing(data)).proof(position)
    if found is None:
        raise UsageError(f"there is no record {position}, or no checkpoint covers it yet; try again in a moment")
    text = json.dumps(found.document, indent=1)
    if out is None:
        click.echo(text)
    else:
        out.write_text(text + "\n")
        click.echo(f"the proof of record {position} is in {out}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--rpc", help="Also ask this node (JSON-RPC URL) whether the block is on its chain.")
@json_option
def verify(file: Path, rpc: str | None, *, as_json_text: bool) -> None:
    """Check the proof in FILE, step by step, with no database and no network.

    Exit code 1 if it does not hold.
    """
    try:
        document = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} is not a JSON document: {error}") from error
    try:
        checked = check_proof(document)
        if rpc is not None:
            check_anchor(checked, RpcChain(rpc))
    except ProofError as error:
        click.echo(as_json({"verified": False, "problem": str(error)}) if as_json_text else f"does not hold: {error}")
        sys.exit(1)
    if as_json_text:
        click.echo(as_json({"verified": True, "position": checked.subject.position, "size": checked.checkpoint.size}))
        return
    for line in _explain(checked, asked=rpc is not None):
        click.echo(line)


def _explain(checked: Checked, *, asked: bool) -> list[str]:
    subject, point, anchor = checked.subject, checked.checkpoint, checked.anchor
    signer = f"the key {subject.public_key.hex()}"
    lines = [f"record {subject.position} is signed with {signer}"]
    if checked.fields is not None:
        lines += _say_envelope(checked.fields)
    lines.append(f"it stands in the log {point.origin} of {point.size} records with the root {point.root.hex()}")
    lines.append(f"that size and root are signed with the checkpoint key {checked.checkpoint_key.hex()}")
    lines.append("(which is the document's own word: compare it with the key that the owner has given you)")
    if anchor is None:
        lines.append("no block held it when the proof was made")
    elif asked:
        lines.append(f"block {anchor.block_number} ({anchor.block_hash}) of that node's chain holds the root")
    else:
        lines.append(f"it claims to stand in block {anchor.block_number} ({anchor.block_hash}); --rpc URL asks a node")
    lines.append("This shows that the statement was made with that key and has its place in that log. It does not show")
    lines.append("that the meter measured rightly, nor that the owner shows everybody the same log: keep this file,")
    lines.append("and compare sizes and roots with what others were shown.")
    return lines


def _say_envelope(fields: object) -> list[str]:
    kind = KIND_WORDS[fields.kind]  # type: ignore[attr-defined]
    attested = ATTESTED_BY[fields.attested_by]  # type: ignore[attr-defined]
    lines = [f"  {kind} of meter {fields.meter} at {fields.utc_ms} ms UTC, attested by the {attested}"]  # type: ignore[attr-defined]
    body = fields.body  # type: ignore[attr-defined]
    if isinstance(body, Readings):
        for index, offset in enumerate(body.offsets_ms):
            values = ", ".join(f"{_name(code)}={column[index]}" for code, column in body.columns.items())
            lines.append(f"  [{index}] +{offset} ms: {values}")
    return lines


def _name(code: int) -> str:
    return BY_CODE[code].name if code in BY_CODE else f"quantity {code}"
