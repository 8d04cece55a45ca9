"""Counters of requests that all processes share."""

import time
from typing import Final

from limits.aio.storage import SlidingWindowCounterSupport, Storage

from app.infrastructure.rate_limits import CounterMemory, Hit, Window
from app.infrastructure.redis.breaker import RedisUnavailable
from app.infrastructure.redis.client import GuardedRedis, Script

_COUNT: Final = Script("""
-- One subject: `w` is the number of the window, `c` its count, `p` that of the window before.
-- The clock is Redis's own, the same for all who ask.
local limit, seconds, amount = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local life = seconds * 1000
local window = math.floor(now / life)
local left = (window + 1) * life - now
local held = redis.call('HMGET', KEYS[1], 'w', 'c', 'p')
local previous, current = 0, 0
if tonumber(held[1]) == window then
  current, previous = tonumber(held[2]), tonumber(held[3])
elseif tonumber(held[1]) == window - 1 then
  previous = tonumber(held[2])
end
local allowed = 0
if amount > 0 and math.floor(previous * left / life + current) + amount <= limit then
  allowed = 1
  current = current + amount
  redis.call('HSET', KEYS[1], 'w', window, 'c', current, 'p', previous)
  redis.call('PEXPIRE', KEYS[1], left + life)
end
return {allowed, previous, left, current}
""")

_INCREMENT: Final = Script("""
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if count == tonumber(ARGV[1]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return count
""")


class SharedCounters(Storage, SlidingWindowCounterSupport):
    """Counters in Redis; in this process while Redis is away, so that limits hold all the same.

    A hit and what is left after it are one call: the counters of a subject are one key, which
    expires when they no longer matter.

    Args:
        redis: Where the counters are.
        prefix: What their keys start with.
    """

    STORAGE_SCHEME = None

    def __init__(self, redis: GuardedRedis, prefix: str) -> None:
        super().__init__()
        self._redis = redis
        self._prefix = prefix
        self._memory = CounterMemory()

    @property
    def base_exceptions(self) -> type[Exception]:
        """What the storage itself may raise: nothing, for what Redis raises is dealt with."""
        return RedisUnavailable

    async def hit(self, key: str, limit: int, expiry: int, amount: int = 1) -> Hit:
        """Count `amount` if it stays within `limit`, and tell what there is then."""
        try:
            return await self._counted(key, limit, expiry, amount)
        except RedisUnavailable:
            return await self._memory.hit(key, limit, expiry, amount)

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Count `amount` if the weighted count of both windows stays within `limit`."""
        return (await self.hit(key, limit, expiry, amount)).allowed

    async def get_sliding_window(self, key: str, expiry: int) -> Window:
        """Count of the window before, seconds it still weighs, count of this one, its life."""
        try:
            return (await self._counted(key, 0, expiry, 0)).window
        except RedisUnavailable:
            return await self._memory.get_sliding_window(key, expiry)

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count `amount` more; a counter that is new lives for `expiry` seconds."""
        try:
            return int(await self._redis.run(_INCREMENT, [self._key(key)], amount, expiry))
        except RedisUnavailable:
            return await self._memory.incr(key, expiry, amount)

    async def get(self, key: str) -> int:
        """How much was counted."""
        try:
            return int(await self._redis.command("GET", self._key(key)) or 0)
        except RedisUnavailable:
            return await self._memory.get(key)

    async def get_expiry(self, key: str) -> float:
        """When the counter ends, in seconds since the epoch; now if there is none."""
        try:
            left = int(await self._redis.command("PTTL", self._key(key)))
        except RedisUnavailable:
            return await self._memory.get_expiry(key)
        return time.time() + max(left, 0) / 1000

    async def check(self) -> bool:
        """Whether Redis answers."""
        try:
            await self._redis.ping()
        except RedisUnavailable:
            return False
        return True

    async def reset(self) -> int:
        """Forget everything; how many counters there were in Redis."""
        await self._memory.reset()
        number, cursor = 0, b"0"
        # In order: each answer says where the next one begins.
        while True:
            cursor, keys = await self._redis.command("SCAN", cursor, "MATCH", self._key("*"))
            number += int(await self._redis.command("DEL", *keys)) if keys else 0
            if cursor == b"0":
                return number

    async def clear(self, key: str) -> None:
        """Forget one counter."""
        await self._memory.clear(key)
        await self._redis.command("DEL", self._key(key))

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget both windows of a key."""
        await self._memory.clear_sliding_window(key, expiry)
        await self._redis.command("DEL", self._key(key))

    async def _counted(self, key: str, limit: int, expiry: int, amount: int) -> Hit:
        allowed, previous, left, current = await self._redis.run(
            _COUNT, [self._key(key)], limit, expiry, amount
        )
        weight = left / 1000
        return Hit(bool(allowed), (previous, weight, current, weight + expiry))

    def _key(self, key: str) -> str:
        return f"{self._prefix}:limits:{key}"
