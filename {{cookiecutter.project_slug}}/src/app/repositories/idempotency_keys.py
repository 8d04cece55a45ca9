"""Requests that may be sent twice, stored."""

from datetime import datetime

from sqlalchemy import delete, update

from app.core.errors import Conflict
from app.domain.idempotency import Answer
from app.infrastructure.database import Repository
from app.infrastructure.database.repository import delete_where
from app.models.idempotency_keys import IdempotencyKey


class IdempotencyKeyRepository(Repository[IdempotencyKey]):
    """Stores keys and answers."""

    model = IdempotencyKey

    async def insert(self, key: IdempotencyKey) -> bool:
        """Store a key; tell whether it was new.

        Raises:
            InvalidToken: Whose key it is was there when the request was authenticated, and is no
                longer.
        """
        try:
            async with self.session.begin_nested():
                await self.add(key)
        except Conflict:
            return False
        return True

    async def take_over(self, key: IdempotencyKey, now: datetime) -> bool:
        """Put a key in the place of the one of its name if that has expired; tell whether."""
        statement = (
            update(IdempotencyKey)
            .where(IdempotencyKey.name == key.name, IdempotencyKey.expires_at <= now)
            .values(
                fingerprint=key.fingerprint,
                token=key.token,
                expires_at=key.expires_at,
                status=None,
                headers=None,
                body=None,
            )
            .returning(IdempotencyKey.name)
            .execution_options(synchronize_session=False)
        )
        return (await self.session.execute(statement)).first() is not None

    async def find(self, name: str) -> IdempotencyKey | None:
        """Return a key by its name."""
        return await self.session.get(IdempotencyKey, name)

    async def keep(
        self, name: str, token: str, answer: Answer, headers: str, until: datetime
    ) -> None:
        """Store the answer of a claim, unless that has lapsed and another has the key."""
        statement = (
            update(IdempotencyKey)
            .where(IdempotencyKey.name == name, IdempotencyKey.token == token)
            .values(status=answer.status, headers=headers, body=answer.body, expires_at=until)
            .execution_options(synchronize_session=False)
        )
        await self.session.execute(statement)

    async def release(self, name: str, token: str) -> None:
        """Delete the key of a claim, unless that has lapsed and another has the key."""
        await self.session.execute(
            delete(IdempotencyKey).where(IdempotencyKey.name == name, IdempotencyKey.token == token)
        )

    async def delete_expired(self, now: datetime) -> int:
        """Delete the keys that have expired; return how many."""
        return await delete_where(self.session, IdempotencyKey, IdempotencyKey.expires_at <= now)
