"""`terang audit`: whether everything still is what was signed."""

import sys
from functools import partial
from pathlib import Path

import click

from terang.app import load_kits, open_chain, open_pages
from terang.audit.findings import Findings
from terang.audit.run import run_audit
from terang.cli.options import as_json, data_option, existing, json_option
from terang.ledger.chain_view import ChainView
from terang.settings import Settings
from terang.store.log_reader import LogReader
from terang.values.clock import SystemClock
from terang.values.errors import ChainCorrupt

__all__ = ["audit", "audit_platform"]


@click.command()
@data_option
@json_option
def audit(data: Path, *, as_json_text: bool) -> None:
    """Compare store, log, signing state and chain, and name whatever was altered, is missing or was slipped in.

    Recomputes every hash, checks every signature and seal, and folds all readings again. Reads only, beside a running
    platform too. Exit code 1 if anything differs.
    """
    findings = audit_platform(existing(data), show=not as_json_text and sys.stderr.isatty())
    if as_json_text:
        named = [finding._asdict() for finding in findings.kept]
        click.echo(
            as_json(
                {
                    "verified": not findings.count,
                    "count": findings.count,
                    "set_aside": findings.set_aside,
                    "findings": named,
                }
            )
        )
    else:
        for finding in findings.kept:
            click.echo(f"{finding.table}: {finding.what}: {finding.detail}")
        if findings.set_aside:
            click.echo(f"{findings.set_aside} signed records count for nothing: implausible, or a second of one number")
        click.echo("nothing differs" if not findings.count else f"{findings.count} things differ")
    sys.exit(1 if findings.count else 0)


def audit_platform(settings: Settings, *, show: bool) -> Findings:
    """Audit one platform, with progress on standard error if `show`."""
    chain = open_chain(settings)
    pages = open_pages(settings)
    verify = partial(_verify, chain) if isinstance(chain, ChainView) else None
    try:
        return run_audit(
            store=pages,
            log=LogReader(settings.store_path),
            chain=chain,
            verify_chain=verify,
            data_of=pages.data_of,
            kits=load_kits(),
            signing_state=settings.signing_state_path,
            progress=_show if show else _hide,
        )
    except ChainCorrupt as error:
        findings = Findings()
        findings.add("chain", "the embedded chain", str(error))
        return findings


def _verify(chain: ChainView) -> int:
    return chain.verify(SystemClock().now_ms() // 1000)  # as late as can be: beside a platform the head moves on


def _show(what: str, done: int, total: int) -> None:
    click.echo(f"\r{what}: {done} of {total}   ", err=True, nl=done >= total)


def _hide(_what: str, _done: int, _total: int) -> None:
    return
