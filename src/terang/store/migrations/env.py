"""Runs the migrations against the file that the writer names."""

from alembic import context
from sqlalchemy import create_engine

from terang.store.schema import metadata

__all__: list[str] = []

_engine = create_engine(f"sqlite:///{context.config.attributes['path']}")
with _engine.connect() as _connection:
    context.configure(connection=_connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
_engine.dispose()
