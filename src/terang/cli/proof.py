"""`terang proof` and `terang verify`: a record's proof, and checking one without the store."""

import sys
from pathlib import Path

import click

from terang.app import open_pages
from terang.cli.options import as_json, data_option, existing, json_option
from terang.ledger.checkpoint import read_head
from terang.ledger.proof import (
    Checked,
    StepFailed,
    check_on_chain,
    check_proof,
    document_text,
    parse_document,
)
from terang.ledger.rpc_chain import RpcChain
from terang.values.envelope import ATTESTED_BY, KIND_WORDS
from terang.values.errors import ProofError, UsageError

__all__ = ["proof", "verify"]

_RPC_TIMEOUT_S = 10
_FILE_MAX = 1 << 20
_MEANS = (
    "This shows that the statement was made with that key, has its place in that log, and was not changed since.",
    "It does not show that the meter measured rightly or that the device's clock was right, nor that the owner, who",
    "holds the wires and perhaps the only signer, shows everybody the same log: keep this file, and compare the log's",
    "size and root, and the block's hash, with what others were shown.",
)


@click.command()
@click.argument("position", type=click.IntRange(0, 1 << 53))
@click.option("--index", type=click.IntRange(0, 1 << 20), default=0, show_default=True, help="Which reading of it.")
@click.option("--since", type=click.IntRange(1, 1 << 53), help="Also show that the log extends its head of this size.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the proof here.")
@data_option
def proof(position: int, index: int, since: int | None, out: Path | None, data: Path) -> None:
    """Write the proof of the record at POSITION of the log, as one JSON document.

    The pages name the position beside every reading. Check the document with `terang verify`.
    """
    found = open_pages(existing(data)).proof(position, index, since)
    if found is None:
        raise UsageError(f"there is no record {position}, or no checkpoint covers it yet; try again in a moment")
    text = document_text(found.document)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text)
        click.echo(f"the proof of record {position} is in {out}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--rpc", help="Also ask this node (JSON-RPC URL) whether its chain has the block.")
@click.option(
    "--head",
    "head_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Also check against a checkpoint that you have kept.",
)
@json_option
def verify(file: Path, rpc: str | None, head_file: Path | None, *, as_json_text: bool) -> None:
    """Check the proof in FILE, step by step, with no database and no network.

    Says at which step it fails. Exit code 1 if it does not hold.
    """
    head = read_head(_text(head_file)) if head_file is not None else None
    try:
        checked = check_proof(parse_document(_text(file)), head=head)
        if rpc is not None:
            check_on_chain(checked, RpcChain(rpc, timeout_s=_RPC_TIMEOUT_S))
    except ProofError as error:
        step = error.step if isinstance(error, StepFailed) else "form"
        answer = {"verified": False, "step": step, "problem": str(error)}
        click.echo(as_json(answer) if as_json_text else f"does not hold, at the step {_plain(str(error))}")
        sys.exit(1)
    if as_json_text:
        click.echo(as_json(_answer(checked)))
        return
    for line in _explain(checked):
        click.echo(_plain(line))


def _text(file: Path) -> str:
    if file.stat().st_size > _FILE_MAX:
        raise UsageError(f"{file} is larger than any proof or head")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeError as error:
        raise UsageError(f"{file} is no text: {error}") from error


def _plain(text: str) -> str:
    """Nothing that a terminal would obey: a proof comes from whoever wants to be believed."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _answer(checked: Checked) -> dict[str, object]:
    return {
        "verified": True,
        "position": checked.subject.position,
        "size": checked.checkpoint.size,
        "root": checked.checkpoint.root.hex(),
        "reading": checked.reading,
        "block_number": checked.block_number,
        "block_hash": checked.block_hash.hex() if checked.block_hash else None,
        "steps": [step for step, _ in checked.steps],
    }


def _explain(checked: Checked) -> list[str]:
    lines = [_what(checked), ""]
    lines += [f"{step:<11} {text}" for step, text in checked.steps]
    steps = {step for step, _ in checked.steps}
    if "event" not in steps:
        lines.append("            no block held it when the proof was made")
    elif "node" not in steps:
        lines.append("            --rpc URL asks a node whether its chain has this block")
    if "head" not in steps:
        lines.append("            --head FILE compares it with a checkpoint that you have kept")
    return [*lines, "", *_MEANS]


def _what(checked: Checked) -> str:
    position = checked.subject.position
    if checked.act is not None:
        values = ", ".join(value.hex() if isinstance(value, bytes) else str(value) for value in checked.act.values)
        return f"record {position}: the platform states {checked.act.name} ({values})"
    if checked.fields is None:
        return f"record {position}: signed, and set aside, because nobody can read what it says"
    kind, attested = KIND_WORDS[checked.fields.kind], ATTESTED_BY[checked.fields.attested_by]
    whom = f"of meter {checked.fields.meter}, attested by the {attested}"
    return f"record {position}: {kind} {whom}; whether it counts, or was set aside as implausible, its file cannot say"
