"""Tracked jobs that are rows of the outbox, on their way to the queue."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, select, update

from app.core.clock import utc_now
from app.core.jobs import JobStatus, TrackedJob
from app.core.ports import Job
from app.infrastructure.database import Database
from app.infrastructure.jobs.store import JobStore
from app.infrastructure.outbox import Outbox, Relay, insertion, table


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """A job that has not reached the queue."""

    id: UUID
    kind: str
    owner_id: UUID
    name: str | None
    cancelled: bool
    created_at: datetime

    @property
    def status(self) -> JobStatus:
        """Status of the job."""
        return JobStatus(
            id=self.id,
            kind=self.kind,
            owner_id=self.owner_id,
            state="cancelled" if self.cancelled else "queued",
            progress=0,
            tries=0,
            created_at=self.created_at,
            started_at=None,
            finished_at=None,
            result=None,
        )


class WaitingJobs(Outbox):
    """Stores, finds and cancels tracked jobs in the outbox."""

    async def add(self, job: TrackedJob, name: str) -> None:
        """Store a job that is delivered after the commit."""
        columns = {"id": job.id, "owner_id": job.owner_id, "name": name}
        await self._session.execute(insertion(job).values(columns))
        self._session.after_commit(self._wake)

    async def of_owner(self, owner_id: UUID) -> list[WaitingJob]:
        """Return the jobs of an owner."""
        return await self._all(table().c.owner_id == owner_id)

    async def find(self, job_id: UUID) -> WaitingJob | None:
        """Return a job."""
        columns = table().c
        found = await self._all((columns.id == job_id) & columns.owner_id.is_not(None))
        return found[0] if found else None

    async def cancel(self, job_id: UUID) -> bool:
        """Cancel a job; return False if it has reached the queue.

        It is delivered as a cancelled one, as the queue may have accepted it by now.
        """
        values = {"cancelled": True, "name": None, "due_at": utc_now()}
        columns = table().c
        statement = update(table()).where(columns.id == job_id).values(values).returning(columns.id)
        self._session.after_commit(self._wake)
        return await self._session.scalar(statement) is not None

    async def _all(self, condition: ColumnElement[bool]) -> list[WaitingJob]:
        columns = (table().c[field.name] for field in fields(WaitingJob))
        rows = await self._session.execute(select(*columns).where(condition))
        return [WaitingJob(*row) for row in rows]


class QueueRelay(Relay):
    """Submits the jobs of the outbox while the queue answers."""

    def __init__(self, database: Database, kinds: Mapping[str, type[Job]], queue: JobStore) -> None:
        super().__init__(database, kinds, queue.deliver)
        self._queue = queue

    async def _claim(self) -> Row[Any] | None:
        await self._queue.ping()
        return await super()._claim()
