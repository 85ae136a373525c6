"""The command line. `main` is the entry point; each command stands in a file of its own."""

import importlib
import sys

import click

from terang import __version__
from terang.values.errors import TerangError, UsageError

__all__ = ["COMMANDS", "main", "terang"]

COMMANDS = {
    "demo": "demo",
    "serve": "serve",
    "edge": "edge",
    "device": "device",
    "room": "room",
    "user": "user",
    "replay": "replay",
    "proof": "proof",
    "verify": "proof",
    "head": "head",
    "audit": "audit",
    "backup": "backup",
    "restore": "backup",
    "witness": "witness",
    "chain": "chain",
    "bench": "bench",
}
"""Command -> the file of this package that has it. A file is loaded when its command is used: every child process
passes through here too, and should not load what it does not need."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  the library's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"terang.cli.{COMMANDS[cmd_name]}"), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="terang")
def terang() -> None:
    """Trusted electricity for shared places.

    `terang demo` shows everything with simulated rooms. Exit codes: 0 all is well, 1 what was checked does not hold or
    could not be done, 2 wrong use.
    """


def main() -> None:
    """Run the command line; every error is one line that says what to do."""
    try:
        terang.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except UsageError as error:
        click.echo(f"terang: {error}", err=True)
        sys.exit(2)
    except TerangError as error:
        click.echo(f"terang: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(141)
    except OSError as error:
        click.echo(f"terang: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True)
        sys.exit(1)
