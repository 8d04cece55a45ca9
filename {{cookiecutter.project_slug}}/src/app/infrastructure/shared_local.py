"""What the processes of the service share: by the database what must be, and each its own rest."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from limits.aio.storage import Storage

from app.config import Settings
from app.core.errors import DatabaseUnavailable
from app.infrastructure.database import Database
from app.infrastructure.idempotency import DatabaseIdempotency
from app.infrastructure.outbox import Outbox
from app.infrastructure.rate_limits import CounterMemory
from app.services.ports import IdempotencyStore

_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SharedState:
    """What processes share, or have each for itself.

    Attributes:
        rate_limits: Counts requests, those of this process.
        idempotency: Knows which requests were sent before, by the database.
    """

    rate_limits: Storage
    idempotency: IdempotencyStore

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, database: Database) -> AsyncIterator["SharedState"]:
        """Yield what is shared, and close it afterwards."""
        async with Outbox.open(
            "database", DatabaseUnavailable, retry_seconds=_RETRY_SECONDS
        ) as outbox:
            idempotency = DatabaseIdempotency(
                database,
                outbox,
                answer_seconds=settings.idempotency.answer_seconds,
                claim_seconds=settings.idempotency.claim_seconds,
            )
            yield cls(CounterMemory(), idempotency)
