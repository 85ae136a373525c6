"""`terang room`: rooms and who lives in them."""

from pathlib import Path

import click

from terang.app import open_pages
from terang.cli.options import ask_core, data_option, existing
from terang.values.command import AddRoom, EndTenancy, StartTenancy

__all__ = ["room"]


@click.group()
def room() -> None:
    """Rooms that are let, and who lives in them."""


@room.command("add")
@click.argument("name")
@data_option
def add(name: str, data: Path) -> None:
    """Add the room NAME."""
    ask_core(existing(data), AddRoom(name=name))
    click.echo(f"there is a room {name} now")


@room.command("move-in")
@click.argument("name")
@click.argument("user")
@data_option
def move_in(name: str, user: str, data: Path) -> None:
    """USER lives in the room NAME from now on and sees its readings."""
    ask_core(existing(data), StartTenancy(room=name, user=user))
    click.echo(f"{user} lives in {name}")


@room.command("move-out")
@click.argument("name")
@data_option
def move_out(name: str, data: Path) -> None:
    """Nobody lives in the room NAME from now on."""
    ask_core(existing(data), EndTenancy(room=name))
    click.echo(f"{name} is free")


@room.command("list")
@data_option
def list_rooms(data: Path) -> None:
    """Show rooms, tenants and meters."""
    for found in open_pages(existing(data)).rooms():
        tenant = found.tenancy.user_name if found.tenancy else "-"
        meters = ", ".join(f"{meter.device[:8]}/{meter.address}" for meter in found.meters) or "-"
        click.echo(f"{found.name}\t{tenant}\t{meters}")
