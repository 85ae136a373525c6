"""`terang edge`: the device in the cupboard."""

from pathlib import Path

import click

from terang.edge.agent import KEY_FILE, run_agent, status
from terang.edge.config import load_config
from terang.edge.keys import create_key
from terang.kits.meter.device import Bus
from terang.values.envelope import device_id
from terang.values.fingerprint import device_code

__all__ = ["edge"]


@click.group(invoke_without_command=True)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="here",
    help="Where device.toml, the key and the outbox are.",
)
@click.option("--status", "show_status", is_flag=True, help="Say how the agent is, and end.")
@click.pass_context
def edge(context: click.Context, folder: Path, *, show_status: bool) -> None:
    """Read the meters, sign what they say, and keep it until it is anchored.

    Needs device.toml in FOLDER, which `terang device adopt` makes on the platform.
    """
    context.obj = folder
    if context.invoked_subcommand is not None:
        return
    if show_status:
        click.echo(status(folder))
        return
    run_agent(load_config(folder / "device.toml"))


@edge.command("key")
@click.pass_obj
def key(folder: Path) -> None:
    """Make this device's key, which never leaves it, and print what the platform needs to adopt it."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = create_key(folder / KEY_FILE)
    click.echo(f"device:     {device_id(pair.public).hex()}")
    click.echo(f"code:       {device_code(device_id(pair.public))}   (write it on the box: tenants compare it)")
    click.echo(f"public key: {pair.public.hex()}")
    click.echo(f"on the platform: terang device adopt {pair.public.hex()} --name NAME --bus PORT:1,2,3")


@edge.command("address")
@click.argument("new", type=click.IntRange(1, 247))
@click.option("--port", required=True, help="The serial port, such as /dev/ttyUSB0.")
def address(new: int, port: str) -> None:
    """Give the one module on the bus the address NEW. Connect one module only, with mains on it."""
    with Bus(port) as bus:
        before = bus.set_address(new)
    click.echo(f"the module at address {before} answers at {new} now")


@edge.command("scan")
@click.option("--port", required=True, help="The serial port, such as /dev/ttyUSB0.")
@click.option("--last", type=click.IntRange(1, 247), default=32, show_default=True, help="Look up to this address.")
def scan(port: str, last: int) -> None:
    """Show which addresses answer on a bus, and what they measure."""
    with Bus(port) as bus:
        found = bus.scan(range(1, last + 1))
        for known in found:
            voltage_mv, current_ma, power_mw, energy_mwh, _, _ = bus.read(known)
            click.echo(
                f"{known}: {voltage_mv / 1000:.1f} V  {current_ma / 1000:.3f} A  {power_mw / 1000:.1f} W"
                f"  {energy_mwh / 1_000_000:.3f} kWh"
            )
    if not found:
        click.echo("no address answers: are the modules on mains, and are RX and TX not swapped?")
