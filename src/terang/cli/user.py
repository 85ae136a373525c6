"""`terang user`: who may log in."""

import secrets
from pathlib import Path

import click

from terang.app import open_pages
from terang.cli.options import ask_core, data_option, existing
from terang.values.command import AddUser, SetPassword
from terang.web.passwords import hash_password

__all__ = ["user"]


_RANDOM = "random"


@click.group()
def user() -> None:
    """People who may log in: the owner and the tenants."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["owner", "tenant"]), default="tenant", show_default=True)
@click.option("--language", type=click.Choice(["id", "en"]), default="id", show_default=True)
@click.option("--password", help="Asked for if not given; 'random' makes one and prints it.")
@data_option
def add(name: str, role: str, language: str, password: str | None, data: Path) -> None:
    """Let NAME log in."""
    chosen = _password(password)
    ask_core(
        existing(data), AddUser(name=name, password_hash=hash_password(chosen), role=role, language=language)
    )
    click.echo(f"{name} may log in" + (f" with the password {chosen}" if password == _RANDOM else ""))


@user.command("password")
@click.argument("name")
@click.option("--password", help="Asked for if not given; 'random' makes one and prints it.")
@data_option
def set_password(name: str, password: str | None, data: Path) -> None:
    """Give NAME a new password, and end all sessions of theirs."""
    chosen = _password(password)
    ask_core(existing(data), SetPassword(name=name, password_hash=hash_password(chosen)))
    click.echo(f"{name} has a new password" + (f": {chosen}" if password == _RANDOM else ""))


@user.command("list")
@data_option
def list_users(data: Path) -> None:
    """Show who may log in."""
    for name, role, language in open_pages(existing(data)).people():
        click.echo(f"{name}\t{role}\t{language}")


def _password(given: str | None) -> str:
    if given == _RANDOM:
        return secrets.token_urlsafe(9)
    return given or click.prompt("Password", hide_input=True, confirmation_prompt=True)
