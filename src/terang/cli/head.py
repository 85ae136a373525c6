"""`terang head`: the log's newest head, to be kept on paper or in a file, and what was kept compared with the log."""

import sys
from pathlib import Path
from typing import TextIO

import click

from terang.app import open_pages
from terang.cli.options import data_option, existing
from terang.ledger.checkpoint import read_head
from terang.reader import KeptHead, LedgerState
from terang.values.errors import UsageError

__all__ = ["head"]

_KEPT_MAX = 1 << 16
_SAID = {
    "same": "the log still begins with exactly those {size} records",
    "other": "the log's first {size} records are others than those that were kept: it was rewritten, or is another log",
    "ahead": "the log is shorter than the {size} records that were kept: it was put back, or is another log",
}


@click.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the signed checkpoint here.")
@click.option(
    "--compare",
    "kept",
    metavar="FILE",
    type=click.File("r", encoding="utf-8", errors="replace"),
    help="Compare what was kept: a checkpoint, or a size and twelve words (-: what is typed).",
)
@data_option
def head(out: Path | None, kept: TextIO | None, data: Path) -> None:
    """Print the log's newest head: its size and its root in twelve words, to be hung up where everybody passes.

    Whoever keeps it can tell later whether the log was rewritten; exit code 1 where it was.
    """
    pages = open_pages(existing(data))
    if kept is not None:
        _compare(pages.compare_head(kept.read(_KEPT_MAX)))
        return
    ledger = pages.ledger()
    if ledger.checkpoint is None:
        raise UsageError("the log has no checkpoint yet; the first comes with the first batch, try again in a moment")
    if out is None:
        click.echo(_sheet(ledger, ledger.checkpoint))
    else:
        out.write_text(ledger.checkpoint, encoding="utf-8")
        click.echo(f"the newest checkpoint is in {out}")


def _sheet(ledger: LedgerState, checkpoint: str) -> str:
    words = ledger.words
    rows = [" ".join(words[at : at + 4]) for at in range(0, len(words), 4)]
    return "\n".join([f"{read_head(checkpoint)[0]}", *rows])


def _compare(found: KeptHead) -> None:
    if found.word not in _SAID:
        raise UsageError("this is neither a checkpoint nor a size with twelve words")
    click.echo(_SAID[found.word].format(size=found.size))
    if found.word != "same":
        sys.exit(1)
