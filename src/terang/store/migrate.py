"""Bringing a store to the schema of this version, with Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config

__all__ = ["migrate"]


def migrate(path: Path) -> None:
    """Bring the store at `path` to the newest schema, making it if it does not exist."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["path"] = path
    command.upgrade(config, "head")
