"""`terang bench`: measurements against bare components in the same run."""

import sys
from pathlib import Path

import click

from terang.bench.growth import bench_growth
from terang.bench.ingest import bench_ingest
from terang.bench.ledger import bench_ledger
from terang.bench.table import Line, render
from terang.cli.options import as_json, json_option

__all__ = ["bench"]


@click.group()
def bench() -> None:
    """Measure the product on this machine, against bare components in the same run.

    Every figure is one run on a machine that does other things too. A bar that is missed is shown as missed.
    """


@bench.command("ingest")
@click.option(
    "--scale", type=click.FloatRange(0.01, 100), default=1.0, show_default=True, help="Shorter or longer runs."
)
@json_option
def ingest(scale: float, *, as_json_text: bool) -> None:
    """Readings a second and milliseconds to commit and block, through mosquitto."""
    _print("ingest", bench_ingest(_say, scale=scale), as_json_text)


@bench.command("ledger")
@click.option(
    "--scale", type=click.FloatRange(0.01, 100), default=1.0, show_default=True, help="Shorter or longer runs."
)
@click.option(
    "--geth",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="geth 1.13.15, for networks of one and three signers; scripts/geth.sh builds it and prints its path.",
)
@json_option
def ledger(scale: float, geth: Path | None, *, as_json_text: bool) -> None:
    """Readings a second, seconds and bytes through the chain: one transaction a reading, batches, roots; restore."""
    _print("ledger", bench_ledger(_say, scale=scale, geth=geth), as_json_text)


@bench.command("growth")
@click.option(
    "--minutes",
    type=click.IntRange(120, 10**6),
    default=600,
    show_default=True,
    help="Simulated minutes; a year is projected.",
)
@json_option
def growth(minutes: int, *, as_json_text: bool) -> None:
    """Disk of store and chain for six rooms and a year, with the defaults of a house."""
    _print("growth", bench_growth(_say, minutes=minutes), as_json_text)


def _print(name: str, lines: list[Line], as_json_text: bool) -> None:
    if as_json_text:
        click.echo(as_json([{**line._asdict(), "reached": line.reached} for line in lines]))
    else:
        click.echo(render(f"terang bench {name}", lines))
    sys.exit(1 if any(line.reached is False for line in lines) else 0)


def _say(text: str) -> None:
    click.echo(f"  {text} ...", err=True)
