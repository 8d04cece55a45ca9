"""Idempotency keys in Redis."""

import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from app.core.config import IdempotencySettings
from app.core.config.redis import RedisSettings
from app.core.idempotency import (
    Answer,
    Claim,
    IdempotencyKey,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
)
from app.infrastructure.outbox import Outbox
from app.infrastructure.redis import GuardedRedis, RedisUnavailable, Script

_CLAIM: Final = Script("""
local held = redis.call('HMGET', KEYS[1], 'fingerprint', 'status', 'headers', 'body')
if not held[1] then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'token', ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return held
""")

_KEEP: Final = Script("""
-- A missing claim was lost with Redis's memory: store the answer all the same.
local token = redis.call('HGET', KEYS[1], 'token')
if token and token ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'fingerprint', ARGV[3],
  'status', ARGV[4], 'headers', ARGV[5], 'body', ARGV[6])
return redis.call('EXPIRE', KEYS[1], ARGV[2])
""")

_RELEASE: Final = Script("""
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
""")


class RedisIdempotency:
    """Implements `app.core.idempotency.IdempotencyStore`.

    Run Redis with an append-only file and without eviction: lost keys allow duplicates.
    """

    def __init__(
        self, redis: GuardedRedis, outbox: Outbox, prefix: str, settings: IdempotencySettings
    ) -> None:
        self._redis = redis
        self._outbox = outbox
        self._prefix = f"{prefix}:idempotency"
        self._settings = settings

    @classmethod
    @asynccontextmanager
    async def open(
        cls, redis: GuardedRedis, settings: RedisSettings, idempotency: IdempotencySettings
    ) -> AsyncIterator["RedisIdempotency"]:
        """Yield a store; afterwards, try deferred writes a last time."""
        async with Outbox.open(
            "redis", RedisUnavailable, retry_seconds=settings.breaker_seconds
        ) as outbox:
            yield cls(redis, outbox, settings.prefix, idempotency)

    async def claim(self, key: IdempotencyKey, fingerprint: str) -> Claim | Answer:
        """Claim a key, or return the response of its first request.

        Raises:
            IdempotencyKeyInUse: The first request of this key has not ended.
            IdempotencyKeyReused: The key was used for a different request.
            IdempotencyUnavailable: Redis does not answer.
        """
        name, token = self._name(key), secrets.token_hex(16)
        if name in self._outbox:
            # The request has ended, but Redis has not been updated yet.
            raise IdempotencyKeyInUse
        try:
            before, status, headers, body = await self._redis.run(
                _CLAIM, [name], fingerprint, token, self._settings.claim_seconds
            )
        except RedisUnavailable as error:
            raise IdempotencyUnavailable from error
        if before is None:
            return Claim(key, fingerprint, token)
        if before.decode() != fingerprint:
            raise IdempotencyKeyReused
        if status is None:
            raise IdempotencyKeyInUse
        pairs = tuple((header, value) for header, value in json.loads(headers))
        return Answer(int(status), pairs, body)

    async def keep(self, claim: Claim, answer: Answer) -> None:
        """Store the response of a claimed request; later, if Redis is unavailable."""
        words = (
            self._settings.answer_seconds,
            claim.fingerprint,
            answer.status,
            json.dumps(answer.headers),
            answer.body,
        )
        await self._end(claim, lambda name: self._redis.run(_KEEP, [name], claim.token, *words))

    async def release(self, claim: Claim) -> None:
        """Free the key; later, if Redis is unavailable."""
        await self._end(claim, lambda name: self._redis.run(_RELEASE, [name], claim.token))

    async def prune(self) -> int:
        """Do nothing: Redis deletes expired keys."""
        return 0

    async def _end(self, claim: Claim, action: Callable[[str], Awaitable[Any]]) -> None:
        name = self._name(claim.key)
        await self._outbox.send([name], lambda: action(name), seconds=self._settings.claim_seconds)

    def _name(self, key: IdempotencyKey) -> str:
        text = hashlib.sha256(f"{key.operation}\n{key.text}".encode()).hexdigest()
        return f"{self._prefix}:{key.account}:{text}"
