"""`terang chain`: the embedded chain as a file for others, and networks on engines that exist."""

import secrets
from pathlib import Path

import click

from terang.cli.options import data_option, existing
from terang.ledger.chain_view import ChainView
from terang.ledger.embedded import write_blocks
from terang.ledger.keyfile import load_or_create_key
from terang.ledger.network import ENGINES, NetworkPlan, write_network
from terang.settings import load_settings
from terang.values.clock import SystemClock
from terang.values.errors import UsageError

__all__ = ["chain"]

_ADDRESS_DIGITS = 40


@click.group()
def chain() -> None:
    """The chain: take it elsewhere, or run one together with other houses."""


@chain.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@data_option
def export(file: Path, data: Path) -> None:
    """Write every block of the embedded chain to FILE, beside the running platform too.

    `geth --datadir DIR init genesis.json` and `geth --datadir DIR import FILE` (geth 1.13.15) take it; genesis.json is
    written beside FILE.
    """
    settings = existing(data)
    if settings.chain != "embedded":
        raise UsageError(f"this platform's chain is {settings.chain}; ask that node for its blocks")
    genesis = file.with_name("genesis.json")
    if genesis.exists() or file.exists():
        raise UsageError(f"{file} or {genesis} exists already; choose another directory")
    view = ChainView.open_read_only(settings.chain_dir)
    try:
        count = write_blocks(view, file)
        genesis.write_text(view.genesis.to_json())
        click.echo(f"{count} blocks are in {file}, up to 0x{view.head().hash.hex()}; the genesis is {genesis}")
    finally:
        view.close()


@chain.command("address")
@data_option
def address(data: Path) -> None:
    """Print the account with which this platform anchors; on a network it needs funds."""
    settings = load_settings(data)
    settings.keys_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = load_or_create_key(settings.keys_dir / "committer.key")
    click.echo("0x" + key.public_key.to_canonical_address().hex())


@chain.command("network")
@click.option("--engine", type=click.Choice(ENGINES), default="geth", show_default=True)
@click.option("--signers", type=click.IntRange(1, 100), default=3, show_default=True, help="How many nodes seal.")
@click.option("--host", "hosts", multiple=True, help="The machine of each signer in turn.  [default: this one]")
@click.option("--fund", "funded", multiple=True, metavar="ADDRESS", help="An account that will anchor; several times.")
@click.option("--period", type=click.IntRange(1, 3600), default=5, show_default=True, help="Seconds between blocks.")
@click.option("--chain-id", type=click.IntRange(1, 1 << 31), help="[default: a random one]")
@click.option("--port-offset", type=click.IntRange(0, 30_000), default=0, show_default=True, help="Moves all ports.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A directory to be made.")
def network(
    engine: str,
    signers: int,
    hosts: tuple[str, ...],
    funded: tuple[str, ...],
    period: int,
    chain_id: int | None,
    port_offset: int,
    out: Path,
) -> None:
    """Write genesis, keys, configuration and start scripts of a network of several signers into a new directory."""
    if hosts and len(hosts) != signers:
        raise UsageError(f"there are {signers} signers and {len(hosts)} hosts; name one host for each, in order")
    plan = NetworkPlan(
        engine=engine,
        hosts=hosts or ("127.0.0.1",) * signers,
        chain_id=chain_id or 10_000_000 + secrets.randbelow(1_000_000_000),
        timestamp_s=SystemClock().now_ms() // 1000,
        period_s=period,
        funded=tuple(_address(text) for text in funded),
        offset=port_offset,
    )
    write_network(out, plan)
    click.echo(f"a network of {signers} ({engine}) is in {out}; {out / 'README.md'} says how to start it")


def _address(text: str) -> bytes:
    digits = text.removeprefix("0x")
    try:
        value = bytes.fromhex(digits)
    except ValueError:
        value = b""
    if len(digits) != _ADDRESS_DIGITS or not value:
        raise UsageError(f"--fund {text}: an address has 40 hex digits; `terang chain address` prints one")
    return value
