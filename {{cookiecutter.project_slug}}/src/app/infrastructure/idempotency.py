"""Idempotency keys in the database."""

import json
import secrets
from dataclasses import dataclass
from datetime import timedelta

from app.core.clock import utc_now
from app.core.errors import DatabaseUnavailable
from app.core.security.secrets import digest
from app.domain.idempotency import (
    Answer,
    Claim,
    IdempotencyKey,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
)
from app.infrastructure.database import Database
from app.infrastructure.outbox import Outbox
from app.models.idempotency_keys import IdempotencyKey as Row
from app.repositories.idempotency_keys import IdempotencyKeyRepository


@dataclass(frozen=True, slots=True)
class DatabaseIdempotency:
    """Knows which requests were sent before, and what they were answered.

    Every step is a transaction of its own: a claim must be seen by others at once, and an answer is
    kept when that of the request is over.

    Attributes:
        database: Where the keys are.
        outbox: Keeps what the database did not take, as long as it is away.
        answer_seconds: How long answers are kept.
        claim_seconds: How long a key is held whose request never ends.
    """

    database: Database
    outbox: Outbox
    answer_seconds: int
    claim_seconds: int

    async def claim(self, key: IdempotencyKey, fingerprint: str) -> Claim | Answer:
        """Return the right to carry out a request, or what it was answered before.

        Raises:
            IdempotencyKeyInUse: The first request of this key has not ended.
            IdempotencyKeyReused: The key came with another request before.
            IdempotencyUnavailable: The database does not answer.
            InvalidToken: The account was deleted meanwhile.
        """
        now, name = utc_now(), _name(key)
        if name in self.outbox:
            # It has ended, and the database does not know yet.
            raise IdempotencyKeyInUse
        row = Row(
            name=name,
            user_id=key.account,
            fingerprint=fingerprint,
            token=secrets.token_hex(16),
            expires_at=now + timedelta(seconds=self.claim_seconds),
        )
        claim = Claim(key, fingerprint, row.token)
        try:
            async with self.database.transaction() as session:
                keys = IdempotencyKeyRepository(session)
                if await keys.insert(row) or await keys.take_over(row, now):
                    return claim
                before = await keys.find(row.name)
        except DatabaseUnavailable as error:
            raise IdempotencyUnavailable(None, **error.context) from error
        if before is None or (before.fingerprint == fingerprint and before.status is None):
            # Under way, or given free a moment ago.
            raise IdempotencyKeyInUse
        if before.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        pairs = tuple((name, value) for name, value in json.loads(before.headers or "[]"))
        return Answer(before.status or 0, pairs, before.body or b"")

    async def keep(self, claim: Claim, answer: Answer) -> None:
        """Keep what the request of a claim was answered; later, while the database is away."""
        name, until = _name(claim.key), utc_now() + timedelta(seconds=self.answer_seconds)

        async def keep() -> None:
            async with self.database.transaction() as session:
                await IdempotencyKeyRepository(session).keep(
                    name, claim.token, answer, json.dumps(answer.headers), until
                )

        await self.outbox.send([name], keep, seconds=self.answer_seconds)

    async def release(self, claim: Claim) -> None:
        """Give the key free again; later, while the database is away."""
        name = _name(claim.key)

        async def release() -> None:
            async with self.database.transaction() as session:
                await IdempotencyKeyRepository(session).release(name, claim.token)

        await self.outbox.send([name], release, seconds=self.claim_seconds)

    async def prune(self) -> int:
        """Delete what has expired; return how many keys that were."""
        async with self.database.transaction() as session:
            return await IdempotencyKeyRepository(session).delete_expired(utc_now())


def _name(key: IdempotencyKey) -> str:
    return digest(f"{key.account}\n{key.operation}\n{key.text}")
