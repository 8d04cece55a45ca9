"""Number and duration of the statements of a request, and a log of slow ones."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

import structlog
from sqlalchemy import event
from sqlalchemy.engine import ExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.ext.asyncio import AsyncEngine

logger = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class DatabaseStatistics:
    """Statements of one request, and the time the service waited for them."""

    statements: int = 0
    seconds: float = 0.0


statistics: ContextVar[DatabaseStatistics | None] = ContextVar("statistics", default=None)
"""The statistics of the current request, if they are kept."""


def record(statement: str, seconds: float, *, slow_seconds: float) -> None:
    """Count a statement, failed or not; log its text if it was slow."""
    account = statistics.get()
    if account is not None:
        account.statements += 1
        account.seconds += seconds
    if seconds >= slow_seconds:
        duration_ms = round(seconds * 1000, 1)
        logger.warning("slow statement", statement=statement, duration_ms=duration_ms)


def time_statements(engine: AsyncEngine, *, slow_seconds: float) -> None:
    """Record each statement of an engine.

    The listeners execute the statement themselves: a pair around it, with a third for errors,
    costs ten times as much.
    """

    def timed(method: Literal["execute", "executemany"]) -> Callable[..., Literal[True]]:
        def execute(
            cursor: DBAPICursor, statement: str, parameters: object, _: ExecutionContext
        ) -> Literal[True]:
            started = time.perf_counter()
            try:
                getattr(cursor, method)(statement, parameters)
            finally:
                record(statement, time.perf_counter() - started, slow_seconds=slow_seconds)
            return True

        return execute

    event.listen(engine.sync_engine, "do_execute", timed("execute"))
    event.listen(engine.sync_engine, "do_executemany", timed("executemany"))
