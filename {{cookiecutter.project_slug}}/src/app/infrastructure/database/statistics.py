"""How many statements a request takes, and how long they take."""

import math
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
logger = structlog.stdlib.get_logger(__name__)


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


@dataclass(frozen=True, slots=True)
class StatementLog:
    """Takes note of statements that have ended.

    Attributes:
        slow_seconds: From here on a statement is logged: its text, never its values.
    """

    slow_seconds: float = math.inf

    def ended(self, text: str | None, seconds: float) -> None:
        """Add a statement, failed or not, to the account of the request; log it if it was slow."""
        account = statistics.get()
        if account is not None:
            account.statements += 1
            account.seconds += seconds
        if seconds >= self.slow_seconds:
            logger.warning("slow statement", statement=text, duration_ms=round(seconds * 1000, 1))


def count_statements(engine: AsyncEngine, statement_log: StatementLog) -> None:
    """Time every statement that goes through an engine, failed ones too.

    Args:
        engine: The engine to watch.
        statement_log: Takes note of them.
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
        statement_log.ended(context.statement, seconds)

    event.listen(engine.sync_engine, "before_cursor_execute", before)
    event.listen(engine.sync_engine, "after_cursor_execute", after)
    event.listen(engine.sync_engine, "handle_error", failed)
