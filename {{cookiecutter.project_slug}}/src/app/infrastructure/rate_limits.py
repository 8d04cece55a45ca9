"""How often something may happen: `limits` with a memory that is cheap and bounded.

The strategy is the sliding window counter: two numbers for each subject, where a moving window
keeps an entry for every request, and no double allowance around the edge of a fixed window.
"""

import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from limits import RateLimitItem, parse
from limits.aio.storage import SlidingWindowCounterSupport, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from app.core.config import RateLimitSettings

Policy = Literal["auth-address", "auth-account", "general-address", "general-account"]
Window = tuple[int, float, int, float]
"""Count of the window before, seconds it still weighs, count of this one, its life in seconds."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left of a limit after a request.

    Attributes:
        policy: The name of the limit.
        limit: Requests in a window.
        window: Seconds in a window.
        remaining: Requests that are left.
        reset_after: Seconds until more of them are there.
        allowed: Whether this request was within the limit.
    """

    policy: Policy
    limit: int
    window: int
    remaining: int
    reset_after: int
    allowed: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """What came of counting a request.

    Attributes:
        allowed: Whether it was within the limit, and counted.
        window: The counts after it.
    """

    allowed: bool
    window: Window


@runtime_checkable
class CountsAtOnce(Protocol):
    """A storage that counts and tells the counts in one step: one way there and back."""

    async def hit(self, key: str, limit: int, expiry: int, amount: int = 1) -> Hit:
        """Count `amount` if it stays within `limit`, and tell what there is then."""


class RateLimiter:
    """Counts requests by policy and subject.

    Args:
        settings: The limits, such as `30/minute`, and whether they are enforced at all.
        storage: Where the counters are; by default this process's memory.
    """

    def __init__(self, settings: RateLimitSettings, storage: Storage | None = None) -> None:
        self._enabled = settings.enabled
        storage = CounterMemory() if storage is None else storage
        self._at_once = storage if isinstance(storage, CountsAtOnce) else None
        self._strategy = SlidingWindowCounterRateLimiter(storage)
        self._limits: dict[Policy, RateLimitItem] = {
            "auth-address": parse(settings.auth_address),
            "auth-account": parse(settings.auth_account),
            "general-address": parse(settings.general_address),
            "general-account": parse(settings.general_account),
        }

    async def hit(self, policy: Policy, subject: str) -> Quota | None:
        """Count one request of a subject; None if limits are switched off."""
        if not self._enabled:
            return None
        item = self._limits[policy]
        if self._at_once is not None:
            key = item.key_for(policy, subject)
            hit = await self._at_once.hit(key, item.amount, item.get_expiry())
            allowed, remaining, reset_in = hit.allowed, *_left(item, hit.window)
        else:
            allowed = await self._strategy.hit(item, policy, subject)
            stats = await self._strategy.get_window_stats(item, policy, subject)
            remaining, reset_in = stats.remaining, stats.reset_time - time.time()
        return Quota(
            policy=policy,
            limit=item.amount,
            window=item.get_expiry(),
            remaining=remaining if allowed else 0,
            # Later than the moment itself, when the count has yet to fall below the limit.
            reset_after=max(0, math.floor(reset_in)) + 1,
            allowed=allowed,
        )


def _left(item: RateLimitItem, window: Window) -> tuple[int, float]:
    """Requests that are left, and seconds until there are more of them."""
    previous, weight, current, life = window
    seconds = item.get_expiry()
    remaining = max(0, item.amount - math.floor(previous * weight / seconds + current))
    waits = [weight % (seconds / previous)] if previous else []
    # A window that begins at this very moment ends a whole window later, not now.
    waits += [life % seconds or seconds] if current else []
    return remaining, min(waits, default=0.0)


class CounterMemory(Storage, SlidingWindowCounterSupport):
    """Counters in this process, in bounded time and space.

    The memory of `limits` walks over all keys after each hit, so that every request pays for
    every client. Here a new counter sweeps two old ones, and the oldest go beyond `max_keys`.

    Args:
        max_keys: How many counters are kept; one takes about 300 bytes.
    """

    STORAGE_SCHEME = None

    def __init__(self, max_keys: int = 100_000) -> None:
        super().__init__()
        self._max_keys = max_keys
        self._counters: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counters)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What the storage itself may raise: nothing of its own."""
        return OSError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count `amount` more; a counter that is new lives for `expiry` seconds."""
        return self._add(key, expiry, amount, time.time())

    async def get(self, key: str) -> int:
        """How much was counted."""
        return self._count(key, time.time())

    async def get_expiry(self, key: str) -> float:
        """When the counter ends, in seconds since the epoch; now if there is none."""
        _, expires = self._counters.get(key, (0, time.time()))
        return expires

    async def check(self) -> bool:
        """Memory is always there."""
        return True

    async def reset(self) -> int:
        """Forget everything; how many counters there were."""
        number = len(self._counters)
        self._counters.clear()
        return number

    async def clear(self, key: str) -> None:
        """Forget one counter."""
        self._counters.pop(key, None)

    async def hit(self, key: str, limit: int, expiry: int, amount: int = 1) -> Hit:
        """Count `amount` if it stays within `limit`, and tell what there is then."""
        now = time.time()
        previous, weight, current, life = self._windows(key, expiry, now)
        allowed = math.floor(previous * weight / expiry + current) + amount <= limit
        if allowed:
            current = self._add(f"{key}/{int(now // expiry)}", 2 * expiry, amount, now)
        return Hit(allowed, (previous, weight, current, life))

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Count `amount` if the weighted count of both windows stays within `limit`."""
        return (await self.hit(key, limit, expiry, amount)).allowed

    async def get_sliding_window(self, key: str, expiry: int) -> Window:
        """Count of the window before, seconds it still weighs, count of this one, its life."""
        return self._windows(key, expiry, time.time())

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget both windows of a key."""
        window = int(time.time() // expiry)
        await self.clear(f"{key}/{window}")
        await self.clear(f"{key}/{window - 1}")

    def _windows(self, key: str, expiry: int, now: float) -> Window:
        window = int(now // expiry)
        left = (window + 1) * expiry - now
        previous = self._count(f"{key}/{window - 1}", now)
        return previous, left, self._count(f"{key}/{window}", now), left + expiry

    def _count(self, key: str, now: float) -> int:
        count, expires = self._counters.get(key, (0, 0.0))
        return count if expires > now else 0

    def _add(self, key: str, expiry: int, amount: int, now: float) -> int:
        count, expires = self._counters.get(key, (0, 0.0))
        if expires <= now:
            count, expires = 0, now + expiry
            self._sweep(now)
        self._counters[key] = (count + amount, expires)
        return count + amount

    def _sweep(self, now: float) -> None:
        for _ in range(min(2, len(self._counters))):
            key, counter = self._counters.popitem(last=False)
            if counter[1] > now:
                self._counters[key] = counter
        while len(self._counters) >= self._max_keys:
            self._counters.popitem(last=False)
