"""The brake on guessing passwords (rule SEC08)."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from app.config import ThrottleSettings
from app.domain.auth import TooManyLoginAttempts
from app.repositories.login_throttles import Failures, LoginThrottleRepository
from app.services.throttle import LoginThrottle

ADDRESS = "203.0.113.7"
NOW = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
LIMITS = ThrottleSettings(
    account_failures=3, address_failures=6, base_seconds=10, max_seconds=60, window_seconds=600
)


class CountsInMemory(LoginThrottleRepository):
    """The counts, without a database."""

    def __init__(self) -> None:
        self.counts: dict[str, Failures] = {}
        self.begun: dict[str, datetime] = {}

    async def failures(self, keys: Iterable[str], since: datetime) -> Mapping[str, Failures]:
        wanted = set(keys)
        found = {key: count for key, count in self.counts.items() if key in wanted}
        return {key: count for key, count in found.items() if self.begun[key] >= since}

    async def record(self, key: str, now: datetime, since: datetime) -> None:
        before = (await self.failures([key], since)).get(key)
        if before is None:
            self.begun[key] = now
        self.counts[key] = Failures(1 if before is None else before.count + 1, now)

    async def forget(self, key: str) -> None:
        self.counts.pop(key, None)


@pytest.fixture
def counts() -> CountsInMemory:
    return CountsInMemory()


@pytest.fixture
def throttle() -> LoginThrottle:
    return LoginThrottle(LIMITS)


Wait = Callable[[int], None]


@pytest.fixture(autouse=True)
def after(monkeypatch: pytest.MonkeyPatch) -> Wait:
    """Stop the clock, and let it stand so many seconds later."""

    def to(seconds: int) -> None:
        moment = NOW + timedelta(seconds=seconds)
        monkeypatch.setattr("app.services.throttle.utc_now", lambda: moment)

    to(0)
    return to


async def fail(
    throttle: LoginThrottle, counts: CountsInMemory, times: int, account: str = "ada"
) -> None:
    for _ in range(times):
        await throttle.record_failure(counts, account, ADDRESS)


async def wait_of(
    throttle: LoginThrottle, counts: CountsInMemory, account: str = "ada", address: str = ADDRESS
) -> int:
    """How long the next try has to wait, in seconds."""
    with pytest.raises(TooManyLoginAttempts) as caught:
        await throttle.check(counts, account, address)
    return caught.value.retry_after


class TestCheck:
    async def test_lets_the_first_failures_pass(
        self, throttle: LoginThrottle, counts: CountsInMemory
    ) -> None:
        await throttle.check(counts, "ada", ADDRESS)
        await fail(throttle, counts, 2)
        await throttle.check(counts, "ada", ADDRESS)

    async def test_doubles_the_wait_with_each_further_failure(
        self, throttle: LoginThrottle, counts: CountsInMemory
    ) -> None:
        await fail(throttle, counts, 3)
        assert await wait_of(throttle, counts) == 10
        await fail(throttle, counts, 1)
        assert await wait_of(throttle, counts) == 20
        await fail(throttle, counts, 1)
        assert await wait_of(throttle, counts) == 40

    async def test_never_waits_longer_than_the_limit(
        self, throttle: LoginThrottle, counts: CountsInMemory
    ) -> None:
        await fail(throttle, counts, 2000)
        assert await wait_of(throttle, counts) == 60

    async def test_lets_another_try_when_the_wait_is_over(
        self, throttle: LoginThrottle, counts: CountsInMemory, after: Wait
    ) -> None:
        await fail(throttle, counts, 3)
        after(9)
        assert await wait_of(throttle, counts) == 1
        after(10)
        await throttle.check(counts, "ada", ADDRESS)

    async def test_forgets_failures_that_are_long_past(
        self, throttle: LoginThrottle, counts: CountsInMemory, after: Wait
    ) -> None:
        await fail(throttle, counts, 5)
        after(601)
        await throttle.check(counts, "ada", ADDRESS)
        await fail(throttle, counts, 2)
        await throttle.check(counts, "ada", ADDRESS)

    async def test_never_adds_up_failures_that_are_far_apart(
        self, throttle: LoginThrottle, counts: CountsInMemory, after: Wait
    ) -> None:
        for number in range(12):
            after(540 * number)
            await throttle.check(counts, "ada", ADDRESS)
            await fail(throttle, counts, 1)

    async def test_counts_each_account_by_itself(
        self, throttle: LoginThrottle, counts: CountsInMemory
    ) -> None:
        await fail(throttle, counts, 3)
        await throttle.check(counts, "grace", ADDRESS)

    async def test_holds_an_account_whatever_the_address(
        self, throttle: LoginThrottle, counts: CountsInMemory
    ) -> None:
        await fail(throttle, counts, 3)
        assert await wait_of(throttle, counts, address="198.51.100.1") == 10

    async def test_holds_an_address_that_tries_one_account_after_another(
        self, throttle: LoginThrottle, counts: CountsInMemory
    ) -> None:
        for number in range(6):
            await fail(throttle, counts, 1, account=f"user-{number}")
        assert await wait_of(throttle, counts, account="grace") == 10

    async def test_takes_a_network_of_ipv6_for_one_address(
        self, throttle: LoginThrottle, counts: CountsInMemory
    ) -> None:
        for number in range(6):
            await throttle.record_failure(counts, f"user-{number}", f"2001:db8::{number}")
        assert await wait_of(throttle, counts, "grace", "2001:db8::ffff") == 10
        await throttle.check(counts, "grace", "2001:db8:0:1::1")


class TestForgive:
    async def test_forgets_the_account_and_not_the_address(
        self, throttle: LoginThrottle, counts: CountsInMemory, after: Wait
    ) -> None:
        await fail(throttle, counts, 6)
        after(60)
        await throttle.forgive(counts, "ada", ADDRESS)
        after(0)
        await throttle.check(counts, "ada", "198.51.100.1")
        assert await wait_of(throttle, counts) == 10

    async def test_waits_for_whoever_guessed_meanwhile(
        self, throttle: LoginThrottle, counts: CountsInMemory
    ) -> None:
        await fail(throttle, counts, 6)
        with pytest.raises(TooManyLoginAttempts):
            await throttle.forgive(counts, "ada", ADDRESS)
        assert await wait_of(throttle, counts) == 60


class TestKeys:
    async def test_tell_nobody_which_names_were_tried(
        self, throttle: LoginThrottle, counts: CountsInMemory
    ) -> None:
        await fail(throttle, counts, 1)
        assert all(len(key) == 64 for key in counts.counts)
        assert len(counts.counts) == 2
