"""`terang demo`: the whole product with simulated rooms."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from terang.cli.audit import audit_platform
from terang.cli.options import as_json
from terang.demo import Demo, free_port
from terang.serve.house import prepare
from terang.settings import load_settings, save_running

__all__ = ["demo"]


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-data"),
    show_default=True,
    help="The demo's directory; started again with it, the demo goes on.",
)
@click.option(
    "--seconds", type=click.FloatRange(1, 10**7), help="End by itself after so long, with one JSON line of figures."
)
@click.option("--broker", type=click.Choice(["embedded", "mosquitto"]), default="embedded", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the simulated households.")
def demo(data: Path, seconds: float | None, broker: str, seed: int) -> None:
    """Run everything on this machine with six simulated rooms, and print the address and the logins.

    Each room has a (simulated) PZEM-004T on a real Modbus line; a device reads and signs; the platform verifies, stores
    and anchors on its chain every second. Stop it with Ctrl-C.
    """
    settings = load_settings(
        data.resolve(),
        broker=broker,
        broker_port=free_port(1883),
        web_port=free_port(8080),
        rpc_port=free_port(8545),
        anchor_s=1,
        site_name="Kos Melati",
    )
    save_running(settings)
    running = Demo(settings, prepare(settings), seed=seed)
    try:
        logins = running.start()
        click.echo(f"\n  Six rooms are live: http://127.0.0.1:{settings.web_port}\n")
        for name, password in logins.items():
            click.echo(f"    {name:<10}{password}")
        click.echo(f"\n  pemilik is the owner; kamar1 to kamar6 are tenants. Everything is in {data}.\n")
        running.run(seconds)
    except BaseException:
        running.supervisor.stop()
        raise
    if seconds is None:
        running.supervisor.stop()
    else:
        result = running.finish()
        findings = audit_platform(settings, show=False)
        for finding in findings.kept[:20]:
            click.echo(f"audit: {finding.table}: {finding.what}: {finding.detail}", err=True)
        click.echo(as_json({**asdict(result), "verified": not findings.count}))
        sys.exit(0 if not (findings.count or result.lost or result.invented) else 1)
