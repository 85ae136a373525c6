"""`terang replay`: a recorded household as a device."""

import socket
import time
from pathlib import Path

import click

from terang.app import open_pages
from terang.cli.options import as_json, ask_core, data_option, existing, json_option
from terang.replay import METER, Sender, read_recording
from terang.values.clock import SystemClock
from terang.values.command import AddRoom, AdoptDevice, PlaceMeter
from terang.values.errors import BrokerError, TerangError
from terang.values.signing import KeyPair

__all__ = ["replay"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--speed", type=float, help="Times faster than life; as fast as the platform takes it if not given.")
@click.option("--room", help="The room that it measures; made if it does not exist.  [default: the file's name]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the broker is.")
@data_option
@json_option
def replay(file: Path, speed: float | None, room: str | None, host: str, data: Path, *, as_json_text: bool) -> None:
    """Publish the minutes in FILE as a signed device of the running platform, then compare the energy.

    FILE has the columns ts, v, i_a, p_kw, q_kvar (UCI's household data) or time, power_w. Its times are moved by whole
    days so that it ends today. Exit code 1 unless the stored energy is the file's integral to the watt-hour.
    """
    settings = existing(data)
    recording = read_recording(file).ending_before(SystemClock().now_ms() - 2000)
    key = KeyPair.generate()
    place = room or file.stem[:60]
    _need_broker(host, settings.broker_port)
    if place not in {known.name for known in open_pages(settings).rooms()}:
        ask_core(settings, AddRoom(name=place))
    answer = ask_core(settings, AdoptDevice(public_key=key.public.hex(), name=f"replay {file.name}"[:80]))
    meter = ask_core(settings, PlaceMeter(device=answer["device"], address=METER, room=place))["meter"]
    begun_s = time.monotonic()
    sender = Sender(
        key=key,
        password=answer["password"],
        platform_key=bytes.fromhex(answer["platform_key"]),
        host=host,
        port=settings.broker_port,
    )
    try:
        with click.progressbar(length=len(recording.minutes), label="minutes", hidden=as_json_text) as bar:
            sender.send(recording, lambda done, total: _move(bar, len(recording.minutes) * done // total), speed)
    finally:
        sender.close()
    latest = open_pages(settings).latest((int(meter),))[int(meter)]
    stored_wh = (latest.total_confirmed_mwh or 0) // 1000
    result = {
        "minutes": len(recording.minutes),
        "empty_rows": recording.empty_rows,
        "file_wh": recording.energy_wh,
        "stored_wh": stored_wh,
        "seconds": round(time.monotonic() - begun_s, 2),
    }
    click.echo(as_json(result) if as_json_text else "  ".join(f"{name}: {value}" for name, value in result.items()))
    if stored_wh != recording.energy_wh:
        raise TerangError(f"the store has {stored_wh} Wh, and the file's integral is {recording.energy_wh} Wh")


def _need_broker(host: str, port: int) -> None:
    """Before anything is adopted: a platform that does not run would be left with a device that never spoke."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        where = f"the broker at {host}:{port}"
        raise BrokerError(f"{where} cannot be reached: {error}; is `terang serve` running?") from error


def _move(bar: object, to: int) -> None:
    bar.update(to - bar.pos)  # type: ignore[attr-defined]
