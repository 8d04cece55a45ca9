"""Idempotency keys in the database."""

import json
import secrets
from dataclasses import dataclass
from datetime import timedelta

from app.core.security.secrets import digest
from app.domain.clock import utc_now
from app.domain.idempotency import (
    Answer,
    Claim,
    IdempotencyKey,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
)
from app.infrastructure.database import Database
from app.models.idempotency_key import IdempotencyKey as Row
from app.repositories.idempotency_keys import IdempotencyKeyRepository


@dataclass(frozen=True, slots=True)
class DatabaseIdempotency:
    """Knows which requests were sent before, and what they were answered.

    Every step is a transaction of its own: a claim must be seen by others at once, and an answer is
    kept when that of the request is over.

    Attributes:
        database: Where the keys are.
        answer_seconds: How long answers are kept.
        claim_seconds: How long a key is held whose request never ends.
    """

    database: Database
    answer_seconds: int
    claim_seconds: int

    async def claim(self, key: IdempotencyKey, fingerprint: str) -> Claim | Answer:
        """Return the right to carry out a request, or what it was answered before.

        Raises:
            IdempotencyKeyInUse: The first request of this key has not ended.
            IdempotencyKeyReused: The key came with another request before.
            DatabaseUnavailable: The database does not answer.
        """
        now = utc_now()
        row = Row(
            name=_name(key),
            user_id=key.account,
            fingerprint=fingerprint,
            token=secrets.token_hex(16),
            expires_at=now + timedelta(seconds=self.claim_seconds),
        )
        claim = Claim(key, fingerprint, row.token)
        async with self.database.transaction() as session:
            keys = IdempotencyKeyRepository(session)
            if await keys.insert(row) or await keys.take_over(row, now):
                return claim
            before = await keys.find(row.name)
        if before is None or (before.fingerprint == fingerprint and before.status is None):
            # Under way, or given free a moment ago.
            raise IdempotencyKeyInUse
        if before.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        pairs = tuple((name, value) for name, value in json.loads(before.headers or "[]"))
        return Answer(before.status or 0, pairs, before.body or b"")

    async def keep(self, claim: Claim, answer: Answer) -> None:
        """Keep what the request of a claim was answered."""
        until = utc_now() + timedelta(seconds=self.answer_seconds)
        async with self.database.transaction() as session:
            await IdempotencyKeyRepository(session).keep(
                _name(claim.key), claim.token, answer, json.dumps(answer.headers), until
            )

    async def release(self, claim: Claim) -> None:
        """Give the key free again."""
        async with self.database.transaction() as session:
            await IdempotencyKeyRepository(session).release(_name(claim.key), claim.token)

    async def prune(self) -> int:
        """Delete what has expired; return how many keys that were."""
        async with self.database.transaction() as session:
            return await IdempotencyKeyRepository(session).delete_expired(utc_now())


def _name(key: IdempotencyKey) -> str:
    return digest(f"{key.account}\n{key.operation}\n{key.text}")
