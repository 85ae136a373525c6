"""`terang backup` and `terang restore`: what the chain does not hold, and the whole house from both."""

import os
import shutil
import sys
from pathlib import Path

import click

from terang.app import open_pages
from terang.backup import Backup, open_backup, take_backup
from terang.cli.options import as_json, data_option, existing, json_option
from terang.keyring import load_keyring
from terang.kits_installed import load_kits
from terang.ledger.embedded import EmbeddedChain, read_blocks
from terang.ledger.genesis import Genesis
from terang.ledger.keyfile import load_or_create_key
from terang.ledger.rpc_chain import RpcChain
from terang.pipeline import Pipeline
from terang.restore import HistoryReader, Restored, anchors_of, restore_log
from terang.serve.house import prepare
from terang.settings import Settings, load_settings
from terang.store.log_reader import LogReader
from terang.store.writer import StoreWriter
from terang.values.clock import SystemClock
from terang.values.errors import TerangError, UsageError

__all__ = ["backup", "restore"]

_passphrase = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Its first line is the pass-phrase; asked for if not given.",
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_passphrase
@data_option
def backup(file: Path, passphrase_file: Path | None, data: Path) -> None:
    """Write keys, people, names, logins and settings to FILE, encrypted; beside the running platform too.

    Every signed record is on the chain already. The two together give the whole house back: `terang restore`.
    """
    settings = existing(data)
    phrase = _phrase(passphrase_file, new=True)
    sealed = take_backup(settings, open_pages(settings), SystemClock().now_ms(), phrase)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{file} exists already; choose another name") from None
    with os.fdopen(descriptor, "wb") as target:
        target.write(sealed)
        target.flush()
        os.fsync(target.fileno())
    click.echo(f"{file} holds all that the chain does not; without its pass-phrase nobody can open it, you neither")


@click.command()
@click.option("--rpc", help="A node that has the chain: its JSON-RPC URL.")
@click.option(
    "--chain",
    "blocks",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The blocks that `terang chain export` has written.",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The backup that `terang backup` has written.",
)
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), required=True, help="A directory to be made.")
@_passphrase
@json_option
def restore(
    rpc: str | None, blocks: Path | None, keys: Path, into: Path, passphrase_file: Path | None, *, as_json_text: bool
) -> None:
    """Make a platform's directory anew from a chain and a backup: readings, rooms, decisions, signatures.

    Every record comes back byte for byte and is checked: signatures, order, root. `terang serve --data INTO` goes on.
    """
    if (rpc is None) == (blocks is None):
        raise UsageError("either --rpc URL or --chain FILE says where the chain is")
    if into.exists():
        raise UsageError(f"{into} exists already; a restored house needs a directory of its own")
    opened = open_backup(keys.read_bytes(), _phrase(passphrase_file, new=False))
    into.mkdir(parents=True, mode=0o700)
    try:
        result = _restore(opened, rpc, blocks, into, show=not as_json_text)
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)  # a half of a house must not be taken for one
        raise
    if as_json_text:
        click.echo(as_json(result._asdict()))
    else:
        counts = f"{result.records} records with {result.readings} readings, from {result.batches} batches"
        click.echo(f"{counts}, are in {into}")
        if result.records < opened.size:
            missing = opened.size - result.records
            click.echo(f"the house had {missing} records more when the backup was made, which this chain does not hold")


def _restore(opened: Backup, rpc: str | None, blocks: Path | None, into: Path, *, show: bool) -> Restored:
    files = {name: text for name, text in opened.files.items() if name != "signing-state"}
    Backup(made_ms=0, size=0, files=files, site={}, rows={}).put_files(into)
    if rpc is not None:
        toml = [line for line in files.get("terang.toml", "").splitlines() if not line.startswith("chain ")]
        (into / "terang.toml").write_text("\n".join([*toml, f'chain = "{rpc}"']) + "\n")
    settings = load_settings(into)
    contract, site = (bytes.fromhex(opened.site.get(key, "")) for key in ("contract", "site_id"))
    if not contract:
        raise UsageError("the backup was made before the house had anchored anything; there is nothing to restore")
    chain = RpcChain(rpc) if rpc is not None else _imported(settings, opened, blocks or Path())
    try:
        return _rebuild(settings, opened, chain, contract, site, show=show)
    finally:
        chain.close()


def _rebuild(
    settings: Settings, opened: Backup, chain: HistoryReader, contract: bytes, site: bytes, *, show: bool
) -> Restored:
    prepare(settings)
    keyring = load_keyring(settings.keys_dir)
    writer = StoreWriter(settings.store_path)
    log = LogReader(settings.store_path)
    try:
        with writer.transaction():
            writer.put_site(dict(opened.site))
        pipeline = Pipeline(writer=writer, kits=load_kits(), key=keyring.platform, clock=SystemClock())
        result = restore_log(
            anchors_of(chain, contract, site),
            pipeline=pipeline,
            log=log,
            checkpoint_key=keyring.checkpoint,
            site=site,
            unsaid=opened.unsaid,
            progress=_show if show and sys.stderr.isatty() else lambda _: None,
        )
        if not result.records:
            raise TerangError("this chain holds nothing of this house: another contract, or another chain")
        with writer.transaction():
            opened.give_names(writer)
            writer.execute("UPDATE notice SET seen_ms=at_ms")  # people were told when it happened
        newest = log.batches()[-1]
        settings.signing_state_path.write_text(f"{newest.new_size} {newest.root.hex()}\n")
    finally:
        log.close()
        writer.close()
    prepare(settings)  # the logins of devices for the broker
    return result


def _imported(settings: Settings, opened: Backup, blocks: Path) -> EmbeddedChain:
    """The embedded chain made anew from its blocks, every one executed and checked."""
    beside = blocks.with_name("genesis.json")
    text = opened.files.get("chain/genesis.json") or (beside.read_text() if beside.exists() else "")
    if not text:
        raise UsageError(f"the backup has no genesis of an embedded chain, and there is no {beside}")
    key = load_or_create_key(settings.chain_dir / "signer.key")
    chain = EmbeddedChain.open(
        settings.chain_dir, clock=SystemClock(), genesis=Genesis.from_json(text), signer_key=key
    )
    try:
        for raw in read_blocks(blocks):
            chain.import_block(raw)
    except BaseException:
        chain.close()
        raise
    return chain


def _phrase(file: Path | None, *, new: bool) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").split("\n")[0]
    phrase: str = click.prompt("Pass-phrase", hide_input=True, confirmation_prompt=new, err=True)
    return phrase


def _show(records: int) -> None:
    click.echo(f"\r{records} records   ", err=True, nl=False)
