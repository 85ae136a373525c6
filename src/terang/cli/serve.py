"""`terang serve`: the platform of a house."""

from pathlib import Path

import click

from terang.cli.options import data_option
from terang.serve.house import platform, prepare
from terang.settings import HELP, load_settings, save_running

__all__ = ["serve"]


@click.command()
@data_option
@click.option("--broker", help=HELP["broker"])
@click.option("--broker-port", type=int, help=HELP["broker_port"])
@click.option("--web-host", help=HELP["web_host"])
@click.option("--web-port", type=int, help=HELP["web_port"])
@click.option("--anchor-s", type=int, help=HELP["anchor_s"])
@click.option("--chain", help=HELP["chain"])
def serve(
    data: Path,
    broker: str | None,
    broker_port: int | None,
    web_host: str | None,
    web_port: int | None,
    anchor_s: int | None,
    chain: str | None,
) -> None:
    """Run the platform of a house: broker, core, ledger and pages.

    Settings come from DATA/terang.toml, from TERANG_NAME in the environment, or from the options below; all of them are
    in docs/settings.md. Stop it with Ctrl-C; it anchors once more and ends.
    """
    settings = load_settings(
        data,
        broker=broker,
        broker_port=broker_port,
        web_host=web_host,
        web_port=web_port,
        anchor_s=anchor_s,
        chain=chain,
    )
    supervisor = platform(settings, prepare(settings))
    save_running(settings)
    supervisor.start()
    broker_at = f"{settings.broker_host}:{settings.broker_port}"
    click.echo(f"pages: http://{settings.web_host}:{settings.web_port}   broker: {broker_at}")
    supervisor.run()
