"""How Alembic gets at the database and at the models.

It is run by `app.infrastructure.database.migrations`, which opens the connection.
"""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy.types import TypeDecorator

from app.models import Base


def render_item(kind: str, item: object, _: AutogenContext) -> str | Literal[False]:
    """Write column types of our own as what the database makes of them: migrations last longer."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    compare_server_default=True,
    render_item=render_item,
    # Where a table can't be altered, it is copied into a new one.
    render_as_batch=not connection.dialect.supports_alter,
    on_version_apply=context.config.attributes.get("on_version_apply"),
)
with context.begin_transaction():
    context.run_migrations()
