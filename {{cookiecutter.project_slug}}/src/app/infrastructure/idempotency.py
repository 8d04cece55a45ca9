"""Idempotency keys: rows in the transaction of their requests.

The key, the response and the effect are committed together, or not at all. A concurrent duplicate
is refused by a lock that ends with the transaction or, where a transaction is the only writer,
waits for the first response.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import String, Table, Text, select
from sqlalchemy.orm import Mapped, mapped_column

from app.core.clock import utc_now
from app.core.config import IdempotencySettings
from app.core.idempotency import (
    Answer,
    IdempotencyKey,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    TooManyIdempotencyKeys,
)
from app.core.security.secrets import digest
from app.infrastructure.database import Session
from app.infrastructure.database.dialect import insert, try_lock
from app.infrastructure.database.models import Base
from app.infrastructure.database.repository import delete_where

_TABLE: Final = "idempotency_keys"
_LARGEST_BODY: Final = 64 * 1024


class IdempotencyKeyColumns:
    """The table of keys; the model adds `user_id`, whose account owns the key.

    `name` is a hash of account, operation and key. A response without a `body` was too large.
    """

    __tablename__ = _TABLE

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    status: Mapped[int]
    headers: Mapped[str] = mapped_column(Text)
    body: Mapped[bytes | None]


@dataclass(frozen=True, slots=True)
class IdempotencyKeys:
    """The keys of requests, in the transaction of a session."""

    session: Session
    settings: IdempotencySettings

    async def claim(self, key: IdempotencyKey) -> Answer | None:
        """Claim a key until the end of the transaction, or return its stored response.

        Raises:
            IdempotencyKeyInUse: The first request of this key has not ended.
            IdempotencyKeyReused: The key was used for a different request.
            TooManyIdempotencyKeys: The account has too many keys.
        """
        name, columns, now = _name(key), _table().c, utc_now()
        # A statement of its own: the next one must see the commit of the lock's last owner.
        if not await try_lock(self.session, int(name[:16], 16)):
            raise IdempotencyKeyInUse
        statement = select(columns.fingerprint, columns.status, columns.headers, columns.body)
        found = await self.session.execute(
            statement.where(columns.name == name, columns.expires_at > now)
        )
        if (row := found.first()) is None:
            await self._require_room(key, now)
            return None
        if row.fingerprint != key.fingerprint:
            raise IdempotencyKeyReused
        return Answer(row.status, json.loads(row.headers), row.body)

    async def keep(self, key: IdempotencyKey, answer: Answer) -> None:
        """Store the response of a claimed key, without its body if that is too large.

        Raises:
            InvalidToken: The account was deleted meanwhile.
        """
        body = answer.body
        row = {
            "fingerprint": key.fingerprint,
            "expires_at": utc_now() + timedelta(seconds=self.settings.answer_seconds),
            "status": answer.status,
            "headers": json.dumps(dict(answer.headers)),
            "body": None if body is None or len(body) > _LARGEST_BODY else body,
        }
        statement = insert(_table()).values(name=_name(key), user_id=key.account, **row)
        # A row that exists has expired: this transaction has the lock.
        statement = statement.on_conflict_do_update(index_elements=["name"], set_=row)
        await self.session.execute(statement)

    async def _require_room(self, key: IdempotencyKey, now: datetime) -> None:
        """Look for the key whose expiry makes room for another one."""
        columns = _table().c
        statement = (
            select(columns.expires_at)
            .where(columns.user_id == key.account, columns.expires_at > now)
            .order_by(columns.expires_at.desc())
            .offset(self.settings.keys_per_user - 1)
            .limit(1)
        )
        if (full_until := await self.session.scalar(statement)) is not None:
            raise TooManyIdempotencyKeys(int((full_until - now).total_seconds()) + 1)


async def delete_expired_keys(session: Session, model: type[Base]) -> int:
    """Delete expired keys, and return their number."""
    return await delete_where(session, model, _table().c.expires_at <= utc_now())


def _table() -> Table:
    return Base.metadata.tables[_TABLE]


def _name(key: IdempotencyKey) -> str:
    return digest(f"{key.account}\n{key.operation}\n{key.text}")
