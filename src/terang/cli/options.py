"""Options that several commands share, and how a command reaches the core."""

import asyncio
import json
from pathlib import Path

import click

from terang.kits_installed import load_kits
from terang.pipeline import Pipeline
from terang.serve.house import prepare
from terang.settings import Settings, running_settings
from terang.store.writer import StoreWriter
from terang.values.clock import SystemClock
from terang.values.command import Answer, Ask, Command, Refused
from terang.values.errors import StoreInUse, UsageError
from terang.web.core import CoreClient

__all__ = ["as_json", "ask_core", "data_option", "existing", "json_option"]

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("terang-data"),
    show_default=True,
    help="The directory that holds everything of one platform.",
)
json_option = click.option("--json", "as_json_text", is_flag=True, help="Answer with JSON, for programs.")


def existing(data: Path) -> Settings:
    """The settings of a platform that exists, as it was started last; UsageError where there is none in `data`."""
    settings = running_settings(data)
    if not settings.store_path.exists():
        raise UsageError(f"there is no platform in {data}; `terang serve --data {data}` or `terang demo` starts one")
    return settings


def ask_core(settings: Settings, command: Command) -> dict[str, str]:
    """Have a command carried out: by the running core, else here as the only writer. UsageError where it is refused."""
    answer = _ask_writer(settings, command)
    if isinstance(answer, Refused):
        raise UsageError(answer.reason)
    return answer.value


def _ask_writer(settings: Settings, command: Command) -> Answer:
    try:
        keyring = prepare(settings)
        writer = StoreWriter(settings.store_path)
    except StoreInUse:
        return asyncio.run(CoreClient(settings.socket_path).ask("cli", command))
    try:
        pipeline = Pipeline(writer=writer, kits=load_kits(), key=keyring.platform, clock=SystemClock())
        answer = pipeline.execute(Ask(by="cli", command=command))
    finally:
        writer.close()
    prepare(settings)  # a device that was adopted or revoked changes the broker's logins
    return answer


def as_json(value: object) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False)
