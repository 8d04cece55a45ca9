"""Responses stored for replay: idempotency keys in the database."""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import CursorResult, String, Table, Text, delete, insert, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app.core.clock import utc_now
from app.core.config import IdempotencySettings
from app.core.errors import Conflict, DatabaseUnavailable
from app.core.idempotency import (
    Answer,
    Claim,
    IdempotencyKey,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
)
from app.core.security.secrets import digest
from app.infrastructure.database import Database, Session
from app.infrastructure.database.models import Base
from app.infrastructure.outbox import Outbox

_TABLE: Final = "idempotency_keys"
_RETRY_SECONDS: Final = 1.0


class IdempotencyKeyColumns:
    """The table of keys; the model adds `user_id`, whose account owns the key.

    `name` is a hash of account, operation and key.
    """

    __tablename__ = _TABLE

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    token: Mapped[str] = mapped_column(String(32))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    status: Mapped[int | None]
    headers: Mapped[str | None] = mapped_column(Text)
    body: Mapped[bytes | None]


@dataclass(frozen=True, slots=True)
class DatabaseIdempotency:
    """Implements `app.core.idempotency.IdempotencyStore`.

    Each step is a transaction of its own: other requests must see a claim at once, and an answer is
    stored after the transaction of its request.

    Attributes:
        outbox: Defers writes while the database is unavailable.
    """

    database: Database
    outbox: Outbox
    settings: IdempotencySettings
    table: Table = field(default_factory=lambda: Base.metadata.tables[_TABLE])

    @classmethod
    @asynccontextmanager
    async def open(
        cls, database: Database, settings: IdempotencySettings
    ) -> AsyncIterator["DatabaseIdempotency"]:
        """Yield a store; afterwards, try deferred writes a last time."""
        async with Outbox.open(
            "database", DatabaseUnavailable, retry_seconds=_RETRY_SECONDS
        ) as outbox:
            yield cls(database, outbox, settings)

    async def claim(self, key: IdempotencyKey, fingerprint: str) -> Claim | Answer:
        """Claim a key, or return the response of its first request.

        Raises:
            IdempotencyKeyInUse: The first request of this key has not ended.
            IdempotencyKeyReused: The key was used for a different request.
            IdempotencyUnavailable: The database does not answer.
            InvalidToken: The account was deleted meanwhile.
        """
        now, name = utc_now(), _name(key)
        if name in self.outbox:
            # The request has ended, but the database has not been updated yet.
            raise IdempotencyKeyInUse
        claim = Claim(key, fingerprint, secrets.token_hex(16))
        try:
            async with self.database.transaction() as session:
                if await self._insert(session, name, claim, now):
                    return claim
                columns = self.table.c
                found = (
                    await session.execute(select(self.table).where(columns.name == name))
                ).first()
        except DatabaseUnavailable as error:
            raise IdempotencyUnavailable(None, **error.context) from error
        if found is None or (found.fingerprint == fingerprint and found.status is None):
            # In progress, or just released.
            raise IdempotencyKeyInUse
        if found.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        headers = tuple((header, value) for header, value in json.loads(found.headers))
        return Answer(found.status, headers, found.body)

    async def keep(self, claim: Claim, answer: Answer) -> None:
        """Store the response of a claimed request; later, if the database is unavailable."""
        values = {
            "status": answer.status,
            "headers": json.dumps(answer.headers),
            "body": answer.body,
            "expires_at": utc_now() + timedelta(seconds=self.settings.answer_seconds),
        }

        async def keep() -> None:
            async with self.database.transaction() as session:
                await session.execute(update(self.table).where(*self._owned(claim)).values(values))

        await self.outbox.send([_name(claim.key)], keep, seconds=self.settings.answer_seconds)

    async def release(self, claim: Claim) -> None:
        """Free the key; later, if the database is unavailable."""

        async def release() -> None:
            async with self.database.transaction() as session:
                await session.execute(delete(self.table).where(*self._owned(claim)))

        await self.outbox.send([_name(claim.key)], release, seconds=self.settings.claim_seconds)

    async def prune(self) -> int:
        """Delete expired keys, and return their number."""
        async with self.database.transaction() as session:
            statement = delete(self.table).where(self.table.c.expires_at <= utc_now())
            return cast("CursorResult[Any]", await session.execute(statement)).rowcount

    async def _insert(self, session: Session, name: str, claim: Claim, now: datetime) -> bool:
        """Insert a claim, or replace an expired one; return whether the key was free."""
        values = {
            "fingerprint": claim.fingerprint,
            "token": claim.token,
            "expires_at": now + timedelta(seconds=self.settings.claim_seconds),
        }
        try:
            async with session.begin_nested():
                row = values | {"name": name, "user_id": claim.key.account}
                await session.execute(insert(self.table).values(row))
        except Conflict:
            """The key exists."""
        else:
            return True
        columns = self.table.c
        statement = (
            update(self.table)
            .where(columns.name == name, columns.expires_at <= now)
            .values(**values, status=None, headers=None, body=None)
            .returning(columns.name)
        )
        return (await session.execute(statement)).first() is not None

    def _owned(self, claim: Claim) -> tuple[Any, ...]:
        """Match the row of a claim, unless it expired and another request has the key."""
        columns = self.table.c
        return columns.name == _name(claim.key), columns.token == claim.token


def _name(key: IdempotencyKey) -> str:
    return digest(f"{key.account}\n{key.operation}\n{key.text}")
