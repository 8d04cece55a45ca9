"""How many statements a request takes, and how long they take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext, ExecutionContext
from sqlalchemy.ext.asyncio import AsyncEngine

_STARTED: Final = "_statement_started"
log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class DatabaseStatistics:
    """What the database did for one request.

    Attributes:
        statements: How many statements were sent.
        seconds: How long they took, as seen from here.
    """

    statements: int = 0
    seconds: float = 0.0


statistics: ContextVar[DatabaseStatistics | None] = ContextVar("statistics", default=None)
"""The account of the current request, if one is kept."""


@contextmanager
def measure() -> Iterator[DatabaseStatistics]:
    """Keep an account of all statements sent inside the block."""
    account = DatabaseStatistics()
    token = statistics.set(account)
    try:
        yield account
    finally:
        statistics.reset(token)


def count_statements(engine: AsyncEngine, *, slow_seconds: float) -> None:
    """Count and time every statement of an engine, failed ones too, and log the slow ones.

    Args:
        engine: The engine to watch.
        slow_seconds: From here on a statement is logged: its text, never its values.
    """

    def before(*arguments: Any) -> None:
        context: ExecutionContext = arguments[4]
        setattr(context, _STARTED, time.perf_counter())

    def after(*arguments: Any) -> None:
        ended(arguments[4])

    def failed(context: ExceptionContext) -> None:
        if context.execution_context is not None:
            ended(context.execution_context)

    def ended(context: ExecutionContext) -> None:
        seconds = time.perf_counter() - getattr(context, _STARTED, time.perf_counter())
        account = statistics.get()
        if account is not None:
            account.statements += 1
            account.seconds += seconds
        if seconds >= slow_seconds:
            log.warning(
                "slow statement",
                statement=context.statement,
                duration_ms=round(seconds * 1000, 1),
            )

    event.listen(engine.sync_engine, "before_cursor_execute", before)
    event.listen(engine.sync_engine, "after_cursor_execute", after)
    event.listen(engine.sync_engine, "handle_error", failed)
