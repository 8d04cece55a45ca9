"""Translation of database errors to domain errors: their texts never reach a client."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from sqlalchemy import ForeignKeyConstraint, Table, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm.exc import StaleDataError

from app.core.errors import Conflict, DatabaseUnavailable, DomainError, EditConflict
from app.infrastructure.database.dialect import constraint_of, why_unavailable
from app.infrastructure.database.models import Base


def translate_errors(engine: AsyncEngine) -> None:
    """Make an engine raise domain errors for violated constraints and outages.

    A unique or check constraint names its error: `info={"error": NameTaken}`. The error of a
    foreign key is that of the table it refers to: `info={"missing": InvalidToken}`. The default is
    `Conflict`. Other errors are bugs, and stay as they are.
    """

    def translate(context: ExceptionContext) -> DomainError | None:
        error = context.sqlalchemy_exception
        if isinstance(error, IntegrityError):
            tables = _tables()
            name = constraint_of(error, tables)
            return _declared(name, tables)(constraint=name)
        if isinstance(error, DBAPIError) and (reason := why_unavailable(error)):
            return DatabaseUnavailable(reason=reason)
        if isinstance(context.original_exception, TimeoutError):
            context.is_disconnect = True
            return DatabaseUnavailable(reason="no answer in time")
        return None

    event.listen(engine.sync_engine, "handle_error", translate, retval=True)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate the errors that SQLAlchemy raises itself.

    Raises:
        DatabaseUnavailable: No connection of the pool became free in time.
        EditConflict: A row was changed or deleted between reading and writing it.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailable(reason="all connections are busy") from error
    except StaleDataError as error:
        raise EditConflict from error


def _tables() -> dict[str, Table]:
    tables = (cast("Table", mapper.local_table) for mapper in Base.registry.mappers)
    return {table.name: table for table in tables}


def _declared(name: str | None, tables: Mapping[str, Table]) -> type[DomainError]:
    for table in tables.values():
        for constraint in table.constraints:
            if constraint.name == name:
                error: type[DomainError] = (
                    constraint.referred_table.info.get("missing", Conflict)
                    if isinstance(constraint, ForeignKeyConstraint)
                    else constraint.info.get("error", Conflict)
                )
                return error
    return Conflict
