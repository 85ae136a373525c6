"""`terang device`: adopt, place, revoke and list devices."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from terang.app import open_pages
from terang.cli.options import ask_core, data_option, existing
from terang.edge.config import BusConfig, EdgeConfig, render_config
from terang.settings import Settings
from terang.values.command import AdoptDevice, NewLogin, PlaceMeter, RevokeDevice
from terang.values.errors import UsageError
from terang.values.fingerprint import device_code

__all__ = ["device"]


@click.group()
def device() -> None:
    """Devices that may send readings."""


@device.command("adopt")
@click.argument("public_key")
@click.option("--name", required=True, help="What the pages call it, such as 'Pi in the cupboard'.")
@click.option(
    "--bus",
    "buses",
    multiple=True,
    required=True,
    metavar="PORT:ADDRESSES",
    help="A serial port and its meters, such as /dev/ttyUSB0:1,2,3. Once for each bus.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the device's file here.")
@click.option("--host", help="Under which name the device reaches the broker.", default="127.0.0.1", show_default=True)
@data_option
def adopt(public_key: str, name: str, buses: tuple[str, ...], out: Path | None, host: str, data: Path) -> None:
    """Take readings signed with PUBLIC_KEY (64 hex digits, printed by `terang edge key`).

    The answer is the device's file: its login at the broker, the platform's key to pin, its buses. Put it on the device
    as device.toml, beside its key.
    """
    settings = existing(data)
    lines = tuple(_bus(number, text) for number, text in enumerate(buses))
    with _new_file(out) as write:
        answer = ask_core(settings, AdoptDevice(public_key=public_key, name=name))
        write(_file_of(settings, answer, host, lines))
    if out is not None:
        click.echo(f"device {answer['device']} is adopted; its file is {out}")
        click.echo(f"its code is {device_code(bytes.fromhex(answer['device']))}: the same as on its box?")


@device.command("password")
@click.argument("device_id")
@click.option("--bus", "buses", multiple=True, required=True, metavar="PORT:ADDRESSES", help="As for adopt.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the device's new file here.")
@click.option("--host", help="Under which name the device reaches the broker.", default="127.0.0.1", show_default=True)
@data_option
def password(device_id: str, buses: tuple[str, ...], out: Path | None, host: str, data: Path) -> None:
    """Make a new login for DEVICE_ID, whose file was lost; the old one ends.

    The answer is the device's file, as `adopt` gives it.
    """
    settings = existing(data)
    lines = tuple(_bus(number, text) for number, text in enumerate(buses))
    with _new_file(out) as write:
        answer = ask_core(settings, NewLogin(device=device_id))
        write(_file_of(settings, answer, host, lines))
    if out is not None:
        click.echo(f"device {answer['device']} has a new login; its file is {out}")


def _file_of(settings: Settings, answer: dict[str, str], host: str, lines: tuple[BusConfig, ...]) -> str:
    config = EdgeConfig(
        folder=Path(),
        broker_host=host,
        broker_port=settings.broker_port,
        username=answer["device"],
        password=answer["password"],
        platform_key=bytes.fromhex(answer["platform_key"]),
        buses=lines,
    )
    return render_config(config)


@contextmanager
def _new_file(out: Path | None) -> Iterator[Callable[[str], object]]:
    """What writes the file, opened before anything is asked: a login is told once, and must have somewhere to go."""
    if out is None:
        yield partial(click.echo, nl=False)
        return
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{out} exists already, and may hold a login; choose another name") from None
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w") as file:
            yield file.write
    except BaseException:
        out.unlink(missing_ok=True)
        raise


@device.command("place")
@click.argument("device_id")
@click.argument("address", type=int)
@click.argument("room")
@click.option("--bus", type=int, default=0, show_default=True, help="The number of its bus on the device.")
@data_option
def place(device_id: str, address: int, room: str, bus: int, data: Path) -> None:
    """The meter at ADDRESS of DEVICE_ID measures ROOM from now on."""
    meter = BusConfig(number=bus, port="", addresses=(address,)).meter(address)
    ask_core(existing(data), PlaceMeter(device=device_id, address=meter, room=room))
    click.echo(f"address {address} of bus {bus} measures {room}")


@device.command("revoke")
@click.argument("device_id")
@click.option("--reason", required=True, help="Why, in a few words: stolen, sold, broken.")
@data_option
def revoke(device_id: str, reason: str, data: Path) -> None:
    """Take nothing more from DEVICE_ID."""
    ask_core(existing(data), RevokeDevice(device=device_id, reason=reason))
    click.echo(f"device {device_id} is revoked")


@device.command("list")
@data_option
def list_devices(data: Path) -> None:
    """Show adopted devices."""
    for found in open_pages(existing(data)).devices():
        state = "revoked" if found.revoked_ms else "adopted"
        missing = sum(gap.end - gap.first for gap in found.gaps)
        click.echo(f"{found.id}\t{found.name}\t{state}\t{found.epochs} starts\t{missing} missing")


def _bus(number: int, text: str) -> BusConfig:
    port, _, addresses = text.rpartition(":")
    try:
        return BusConfig(number=number, port=port, addresses=tuple(int(part) for part in addresses.split(",")))
    except ValueError as error:
        raise UsageError(f"--bus {text}: a port and addresses are needed, such as /dev/ttyUSB0:1,2,3") from error
