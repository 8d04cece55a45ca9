"""Outbox: jobs as rows of the transaction that enqueues them, delivered after its commit.

A job is delivered at least once: its row is deleted afterwards, so a crash leaves it to the next
process.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final, cast

import structlog
from sqlalchemy import (
    JSON,
    Delete,
    Insert,
    Row,
    String,
    Table,
    Update,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column
from structlog.contextvars import bind_contextvars

from app.core.clock import utc_now
from app.core.errors import Unavailable
from app.core.ports import Job, Measurement
from app.infrastructure.database import Database, Session
from app.infrastructure.database.database import AfterCommit
from app.infrastructure.database.models import Base, Identified
from app.infrastructure.payloads import Message, dump, load, message

_TABLE: Final = "outbox"
_SLOTS: Final = 10
_POLL_SECONDS: Final = 5.0
_CLAIM_SECONDS: Final = 120.0
_DELIVERY_SECONDS: Final = 90.0
_RETRY_SECONDS: Final = 5.0
_RETRY_MAX_SECONDS: Final = 3600.0
_MAX_TRIES: Final = 30  # for about a day

logger = structlog.stdlib.get_logger(__name__)


class OutboxColumns(Identified):
    """Jobs to deliver; a claim moves `due_at` to its end."""

    __tablename__ = _TABLE

    kind: Mapped[str] = mapped_column(String(100))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime]
    due_at: Mapped[datetime] = mapped_column(index=True)
    tries: Mapped[int] = mapped_column(default=0)


class Outbox:
    """Implements `app.core.ports.Jobs` in the transaction of a session."""

    def __init__(self, session: Session, wake: AfterCommit) -> None:
        """Add rows to a session, whose commit wakes the relay."""
        self._session = session
        self._wake = wake

    async def enqueue(self, job: Job) -> None:
        """Store a job that is delivered after the commit."""
        await self._session.execute(insertion(job))
        self._session.after_commit(self._wake)


class Relay:
    """Delivers the messages of the outbox, from any number of processes.

    A failed delivery is retried after a delay that doubles. After 30 attempts, about a day, the
    message is dropped and logged.
    """

    def __init__(
        self,
        database: Database,
        kinds: Mapping[str, type[Job]],
        deliver: Callable[[Row[Any], Message], Awaitable[None]],
    ) -> None:
        """Deliver by `deliver`, which gets the row of each message, too."""
        self._database = database
        self._kinds = kinds
        self._deliver = deliver
        self._slots = asyncio.Semaphore(_SLOTS)
        self._news = asyncio.Event()
        self._is_closing = False
        self._is_paused = False

    @asynccontextmanager
    async def open(self, drain_seconds: float) -> AsyncIterator[None]:
        """Deliver while the block runs; then deliver what is due within a time limit."""
        running = asyncio.create_task(self._run(), name="outbox")
        try:
            yield
        finally:
            self._is_closing = True
            self._news.set()
            await asyncio.wait({running}, timeout=drain_seconds)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def wake(self) -> None:
        """Look for new messages; pass this to `session.after_commit`."""
        self._news.set()

    async def measure(self) -> tuple[Measurement, ...]:
        """Measure the outbox."""
        statement = select(func.count(), func.min(table().c.created_at))
        async with self._database.read() as connection:
            number, oldest = (await connection.execute(statement)).one()
        age = (utc_now() - oldest).total_seconds() if number else 0.0
        return (
            Measurement("outbox_messages", "Jobs and mails that are not delivered.", number),
            Measurement("outbox_oldest_age_seconds", "Age of the oldest of them.", age),
        )

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as deliveries:
            while True:
                self._news.clear()
                try:
                    while claim := await self._claim_in_slot():
                        deliveries.create_task(self._attempt(claim))
                    self._resume()
                except Unavailable as error:
                    if not self._is_paused:
                        logger.warning("outbox paused", code=error.code, **error.context)
                    self._is_paused = True
                except Exception:
                    if not self._is_paused:
                        logger.exception("outbox paused")
                    self._is_paused = True
                if self._is_closing and not self._news.is_set():
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), _POLL_SECONDS)

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            logger.info("outbox resumed")

    async def _claim_in_slot(self) -> Row[Any] | None:
        await self._slots.acquire()
        claim = None
        try:
            claim = await self._claim()
        finally:
            if claim is None:
                self._slots.release()
        return claim

    async def _claim(self) -> Row[Any] | None:
        """Claim the message that has been due for longest and is not locked by another process."""
        columns, now = table().c, utc_now()
        due = select(columns.id).where(columns.due_at <= now).order_by(columns.due_at).limit(1)
        # A write would wait for other writers, where there is one at a time.
        async with self._database.read() as connection:
            if await connection.scalar(due) is None:
                return None
        first = due.with_for_update(skip_locked=True).scalar_subquery()
        statement = (
            update(table())
            .where(columns.id == first)
            .values(due_at=now + timedelta(seconds=_CLAIM_SECONDS), tries=columns.tries + 1)
            .returning(table())
        )
        async with self._database.transaction() as session:
            row: Row[Any] | None = (await session.execute(statement)).first()
        return row

    async def _attempt(self, claim: Row[Any]) -> None:
        bind_contextvars(job=claim.kind, job_id=str(claim.id))
        delay: float | None = 0.0
        try:
            if claim.tries > _MAX_TRIES:
                logger.error("job dropped", tries=_MAX_TRIES)
            else:
                await self._try(claim)
            delay = None
        except asyncio.CancelledError:
            uncancel()
            raise
        except Exception as error:
            if isinstance(error, Unavailable):
                logger.warning("job deferred", tries=claim.tries, code=error.code, **error.context)
            else:
                logger.exception("job failed", tries=claim.tries)
            delay = min(_RETRY_SECONDS * 2 ** (claim.tries - 1), _RETRY_MAX_SECONDS)
        finally:
            await self._settle(claim, delay)
            self._slots.release()

    async def _try(self, claim: Row[Any]) -> None:
        sent = load(claim.kind, claim.payload, claim.created_at, self._kinds)
        bind_contextvars(**sent.context)
        async with asyncio.timeout(_DELIVERY_SECONDS):
            await self._deliver(claim, sent)

    async def _settle(self, claim: Row[Any], delay: float | None) -> None:
        """Delete a row or, with a delay, retry it, unless the claim has ended."""
        columns = table().c
        statement: Delete | Update = delete(table())
        if delay is not None:
            statement = update(table()).values(due_at=utc_now() + timedelta(seconds=delay))
        held = (columns.id == claim.id) & (columns.due_at == claim.due_at)
        try:
            async with self._database.transaction() as session:
                await session.execute(statement.where(held))
        except Exception:
            # The message is delivered again when its claim ends.
            logger.exception("delivery not recorded")


def table() -> Table:
    """Return the table of the outbox."""
    return Base.metadata.tables[_TABLE]


def insertion(job: Job) -> Insert:
    """Return the statement that stores a job."""
    sent = message(job)
    return insert(table()).values(
        kind=sent.kind, payload=dump(sent), created_at=sent.enqueued_at, due_at=sent.enqueued_at
    )


def uncancel() -> None:
    """Let this task go on after its cancellation, with working time limits.

    Early versions of Python 3.11 take the end of any time limit in a task that is being cancelled
    for its cancellation.
    """
    cast("asyncio.Task[None]", asyncio.current_task()).uncancel()
