"""Errors of the database, in the words of the domain; their own text never reaches a client."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm.exc import StaleDataError

from app.core.errors import Conflict, DatabaseUnavailable, DomainError, EditConflict
from app.infrastructure.database.dialect import constraint_of, why_unavailable
from app.repositories.constraints import CONSTRAINTS


def translate_errors(engine: AsyncEngine) -> None:
    """Let an engine raise domain errors for what is no fault of the code.

    A violated constraint becomes the error that the table gives it, or a `Conflict`; a database
    that does not answer becomes `DatabaseUnavailable`. Everything else is a bug, and stays so.
    """

    def translate(context: ExceptionContext) -> DomainError | None:
        error = context.sqlalchemy_exception
        if isinstance(error, IntegrityError):
            name = constraint_of(error)
            return CONSTRAINTS.get(name or "", Conflict)(constraint=name)
        if isinstance(error, DBAPIError) and (reason := why_unavailable(error)):
            return DatabaseUnavailable(reason=reason)
        if isinstance(context.original_exception, TimeoutError):
            context.is_disconnect = True
            return DatabaseUnavailable(reason="no answer in time")
        return None

    event.listen(engine.sync_engine, "handle_error", translate, retval=True)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Do the same for what SQLAlchemy itself raises.

    Raises:
        DatabaseUnavailable: No connection of the pool came free in time.
        EditConflict: A row was changed or deleted between reading and writing it.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailable(reason="all connections are busy") from error
    except StaleDataError as error:
        raise EditConflict from error
