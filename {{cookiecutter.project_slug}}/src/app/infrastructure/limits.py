"""Rate limits, by a sliding window counter per policy and subject, and concurrency limits."""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from app.core.config import RateLimitSettings, rate_of
from app.core.errors import TooManyConcurrentRequests
from app.core.ports import Measurement

Policy = Literal["auth-address", "auth-site", "general-address", "general-account"]
Rate = tuple[int, int]  # requests, seconds

SITE_PREFIX: Final = 48
"""Prefix length of the largest IPv6 network that a provider assigns to one site (RFC 6177)."""

SITE_FACTOR: Final = 4
"""Limit of a site, in limits of a network."""


@dataclass(frozen=True, slots=True)
class Quota:
    """State of a limit after a request; `window` and `reset_after` are seconds."""

    policy: Policy
    limit: int
    window: int
    remaining: int
    reset_after: int
    allowed: bool


class RateLimiter:
    """Counts requests in the memory of this process, in bounded time and space.

    A request counts in the current window; those of the previous one weigh less and less. The
    library `limits` does the same at five times the CPU, and walks over all counters after each
    hit: 5 ms per request at 50,000 addresses.
    """

    def __init__(self, settings: RateLimitSettings, max_counters: int = 100_000) -> None:
        self._enabled = settings.enabled
        number, seconds = auth = rate_of(settings.auth_address)
        self._rates: dict[Policy, Rate] = {
            "auth-address": auth,
            "auth-site": (SITE_FACTOR * number, seconds),
            "general-address": rate_of(settings.general_address),
            "general-account": rate_of(settings.general_account),
        }
        self._refused = dict.fromkeys(self._rates, 0)
        self._max_counters = max_counters
        # A clock that is set back must not reset the counters.
        self._started = time.time() - time.monotonic()
        # 300 bytes each; the oldest first.
        self._counters: OrderedDict[tuple[Policy, str], _Counter] = OrderedDict()

    async def hit(self, policy: Policy, subject: str) -> Quota | None:
        """Count a request of a subject; return None if limits are disabled."""
        if not self._enabled:
            return None
        counted = await self._count(policy, self._rates[policy], subject)
        if not counted.allowed:
            self._refused[policy] += 1
        return counted

    def measure(self) -> Iterator[Measurement]:
        """Measure refusals."""
        name, description = "rate_limit_refusals_total", "Requests refused by a rate limit."
        for policy, number in self._refused.items():
            yield Measurement(name, description, number, {"policy": policy})

    async def _count(self, policy: Policy, rate: Rate, subject: str) -> Quota:
        now, (limit, seconds) = self._started + time.monotonic(), rate
        window = int(now // seconds)
        counter = self._counters.get((policy, subject))
        if counter is None:
            self._evict(now)
            counter = self._counters[policy, subject] = _Counter(window)
        elif counter.window != window:
            counter.previous = counter.current if counter.window == window - 1 else 0
            counter.window, counter.current = window, 0
        left = (window + 1) * seconds - now
        counter.expires = now + left + seconds
        allowed = math.floor(counter.previous * left / seconds + counter.current) < limit
        counter.current += allowed
        return quota(policy, rate, allowed, counter.previous, left, counter.current)

    def _evict(self, now: float) -> None:
        # Two for each that is added, so that all expired ones go in time.
        for _ in range(min(2, len(self._counters))):
            key, counter = self._counters.popitem(last=False)
            if counter.expires > now:
                self._counters[key] = counter
        while len(self._counters) >= self._max_counters:
            self._counters.popitem(last=False)


@dataclass(slots=True)
class _Counter:
    window: int
    current: int = 0
    previous: int = 0
    expires: float = 0.0


def quota(
    policy: Policy, rate: Rate, allowed: bool, previous: int, left: float, current: int
) -> Quota:
    """Return the quota after a request.

    Args:
        policy: The policy.
        rate: Its limit.
        allowed: Whether the request was counted.
        previous: Requests in the previous window.
        left: Seconds until the current window ends.
        current: Requests in the current window.
    """
    limit, seconds = rate
    # The counter falls when the previous window weighs less, or when this one ends.
    wait = left % (seconds / previous) if previous else left
    remaining = limit - math.floor(previous * left / seconds + current) if allowed else 0
    return Quota(
        policy=policy,
        limit=limit,
        window=seconds,
        remaining=max(0, remaining),
        # Rounded up to the next second, by which the counter is below the limit.
        reset_after=max(0, math.floor(wait)) + 1,
        allowed=allowed,
    )


class ConcurrencyLimiter:
    """Limits the requests that each subject has in progress in this process."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: dict[str, int] = {}

    def acquire(self, subject: str) -> Callable[[], None]:
        """Count a request; return the function to call at its end.

        Raises:
            TooManyConcurrentRequests: The limit is reached.
        """
        running = self._running.get(subject, 0)
        if running >= self._limit:
            detail = f"You have {running} requests of this kind in progress. Wait until one ends."
            raise TooManyConcurrentRequests(1, detail)
        self._running[subject] = running + 1
        return partial(self._release, subject)

    def _release(self, subject: str) -> None:
        self._running[subject] -= 1
        if not self._running[subject]:
            del self._running[subject]


def network_of(address: str, prefix: int = 64) -> str:
    """Return the network of an IPv6 address, or the address.

    A /64 is the least that a customer gets, and a client may use all of its addresses.
    """
    if ":" not in address:
        return address
    try:
        ip = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    host_bits = 128 - prefix
    return str(ipaddress.IPv6Network((int(ip) >> host_bits << host_bits, prefix)))
