"""Alembic's environment, for `app migrate` and for plain `alembic`."""

import logging
from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.types import TypeDecorator

from app.core.errors import OperatorError
from app.infrastructure.database import migrations
from app.models import Base


def render_item(kind: str, item: object, _: AutogenContext) -> str | Literal[False]:
    """Render our column types as those of the database, so that migrations outlive our code."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


def run(connection: Connection) -> None:
    """Run the command on a connection."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
        render_item=render_item,
        # Copies tables that the database cannot alter.
        render_as_batch=not connection.dialect.supports_alter,
        on_version_apply=context.config.attributes.get("on_version_apply"),
    )
    with context.begin_transaction():
        context.run_migrations()


def run_locked(connection: Connection) -> None:
    """Run a command of plain `alembic`, unless another process migrates the database."""
    migrations.lock(connection)
    run(connection)


if connection := context.config.attributes.get("connection"):
    run(connection)
else:
    from app.cli.runtime import runtime

    try:
        with runtime() as settings:
            logging.getLogger("alembic.runtime.migration").setLevel(logging.INFO)
            migrations.run_on_connection(settings.database.url.get_secret_value(), run_locked)
    except OperatorError as error:
        raise CommandError(str(error)) from error
