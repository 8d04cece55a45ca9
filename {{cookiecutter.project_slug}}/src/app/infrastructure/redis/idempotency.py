"""Idempotency keys in Redis."""

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from app.domain.idempotency import (
    Answer,
    Claim,
    IdempotencyKey,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
)
from app.infrastructure.outbox import Outbox
from app.infrastructure.redis.breaker import RedisUnavailable
from app.infrastructure.redis.client import GuardedRedis, Script

_CLAIM: Final = Script("""
local held = redis.call('HMGET', KEYS[1], 'fingerprint', 'status', 'headers', 'body')
if not held[1] then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'token', ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return held
""")

_KEEP: Final = Script("""
-- A claim that is not there any more was lost with Redis's memory: the answer is what counts.
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
    """Knows which requests were sent before, and what they were answered.

    Redis must not lose what it has: run it with an append-only file, and without eviction.

    Args:
        redis: Where the keys are.
        outbox: Keeps the answers that Redis did not take, as long as it is away.
        prefix: What keys start with.
        answer_seconds: How long answers are kept.
        claim_seconds: How long a key is held whose request never ends.
    """

    def __init__(
        self,
        redis: GuardedRedis,
        outbox: Outbox,
        *,
        prefix: str,
        answer_seconds: int,
        claim_seconds: int,
    ) -> None:
        self._redis = redis
        self._outbox = outbox
        self._prefix = f"{prefix}:idempotency"
        self._answer_seconds = answer_seconds
        self._claim_seconds = claim_seconds

    async def claim(self, key: IdempotencyKey, fingerprint: str) -> Claim | Answer:
        """Return the right to carry out a request, or what it was answered before.

        Raises:
            IdempotencyKeyInUse: The first request of this key has not ended.
            IdempotencyKeyReused: The key came with another request before.
            IdempotencyUnavailable: Redis does not answer.
        """
        name, token = self._name(key), secrets.token_hex(16)
        if name in self._outbox:
            # It has ended, and Redis does not know yet.
            raise IdempotencyKeyInUse
        try:
            before, status, headers, body = await self._redis.run(
                _CLAIM, [name], fingerprint, token, self._claim_seconds
            )
        except RedisUnavailable as error:
            raise IdempotencyUnavailable from error
        if before is None:
            return Claim(key, fingerprint, token)
        if before.decode() != fingerprint:
            raise IdempotencyKeyReused
        if status is None:
            raise IdempotencyKeyInUse
        pairs = tuple((name, value) for name, value in json.loads(headers))
        return Answer(int(status), pairs, body)

    async def keep(self, claim: Claim, answer: Answer) -> None:
        """Keep what the request of a claim was answered; later, while Redis is away."""
        words = (
            self._answer_seconds,
            claim.fingerprint,
            answer.status,
            json.dumps(answer.headers),
            answer.body,
        )
        await self._end(claim, lambda name: self._redis.run(_KEEP, [name], claim.token, *words))

    async def release(self, claim: Claim) -> None:
        """Give the key free again; later, while Redis is away."""
        await self._end(claim, lambda name: self._redis.run(_RELEASE, [name], claim.token))

    async def prune(self) -> int:
        """Redis deletes by itself what has expired."""
        return 0

    async def _end(self, claim: Claim, action: Callable[[str], Awaitable[Any]]) -> None:
        name = self._name(claim.key)
        await self._outbox.send([name], lambda: action(name), seconds=self._claim_seconds)

    def _name(self, key: IdempotencyKey) -> str:
        text = hashlib.sha256(f"{key.operation}\n{key.text}".encode()).hexdigest()
        return f"{self._prefix}:{key.account}:{text}"
