"""The throttle of password guesses, on a table of the tests' own (rule SEC08)."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from app.config import Settings
from app.core.config import ThrottleSettings
from app.core.errors import TooManyRequests
from app.infrastructure.database import Database, Session
from app.infrastructure.throttle import Throttle
from tests.support.databases import TestDatabases
from tests.support.models import Guesses, GuessesFactory, measure, with_own_tables

ADDRESS = "203.0.113.7"
NOW = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
LIMITS = ThrottleSettings(
    account_failures=3, address_failures=6, base_seconds=10, max_seconds=60, window_seconds=600
)
DAY = 86_400


class TooManyGuesses(TooManyRequests):
    """Too many guesses have failed."""


@pytest.fixture
def throttle() -> Throttle:
    return Throttle(Guesses, LIMITS, TooManyGuesses, scope="login")


@pytest.fixture(scope="module")
async def database(
    make_settings: Callable[..., Settings], databases: TestDatabases
) -> AsyncIterator[Database]:
    """A database of these tests, with the table of the counters."""
    url = databases.create()
    async with with_own_tables(make_settings(url)) as database:
        yield database
    databases.drop(url)


@pytest.fixture
async def session(database: Database) -> AsyncIterator[Session]:
    async with database.transaction() as session:
        yield session
        await session.rollback()


Wait = Callable[[int], None]


@pytest.fixture(autouse=True)
def after(monkeypatch: pytest.MonkeyPatch) -> Wait:
    """Set the clock to this many seconds after the start."""

    def to(seconds: int) -> None:
        moment = NOW + timedelta(seconds=seconds)
        monkeypatch.setattr("app.infrastructure.throttle.utc_now", lambda: moment)

    to(0)
    return to


async def fail(throttle: Throttle, session: Session, times: int) -> None:
    """Record this many failures of concurrent attempts."""
    attempt = await throttle.begin(session, "ada", ADDRESS)
    for key in attempt.limits:
        counter = await session.get(Guesses, key)
        if counter is None:
            expires_at = NOW + timedelta(seconds=attempt.limits[key].life)
            counter = GuessesFactory.build(key=key, failures=0, expires_at=expires_at)
            session.add(counter)
        counter.failures += times
        counter.updated_at = NOW
    await session.flush()
    session.expunge_all()


async def succeed(throttle: Throttle, session: Session) -> None:
    await throttle.clear(session, await throttle.begin(session, "ada", ADDRESS))


async def wait_of(throttle: Throttle, session: Session) -> int:
    """Return the seconds until the next attempt."""
    with pytest.raises(TooManyGuesses) as refused:
        await throttle.begin(session, "ada", ADDRESS)
    return refused.value.retry_after


class TestBegin:
    @pytest.mark.parametrize(("failures", "wait"), [(3, 10), (4, 20), (5, 40), (6, 60), (2000, 60)])
    async def test_doubles_the_wait_with_each_failure_up_to_a_limit(
        self, throttle: Throttle, session: Session, failures: int, wait: int
    ) -> None:
        await succeed(throttle, session)  # beyond 100, unknown networks wait for a day
        await fail(throttle, session, failures)
        assert await wait_of(throttle, session) == wait

    async def test_lets_the_first_failures_pass(self, throttle: Throttle, session: Session) -> None:
        await fail(throttle, session, 2)
        attempt = await throttle.begin(session, "ada", ADDRESS)
        assert {attempt.failures(key) for key in attempt.limits} == {2}

    async def test_ends_the_wait_and_a_count_with_its_window(
        self, throttle: Throttle, session: Session, after: Wait
    ) -> None:
        await fail(throttle, session, 3)
        after(9)
        assert await wait_of(throttle, session) == 1
        after(10)
        await throttle.begin(session, "ada", ADDRESS)
        after(DAY)
        assert (await throttle.begin(session, "ada", ADDRESS)).counters == {}

    async def test_waits_no_longer_than_a_count_lasts(
        self, throttle: Throttle, session: Session, after: Wait
    ) -> None:
        after(1 - DAY)
        await throttle.fail(session, await throttle.begin(session, "ada", ADDRESS))
        after(0)
        await fail(throttle, session, 2)
        assert await wait_of(throttle, session) == 1

    async def test_counts_accounts_and_operations_apart(
        self, throttle: Throttle, session: Session
    ) -> None:
        await fail(throttle, session, 3)
        await throttle.begin(session, "grace", ADDRESS)
        await replace(throttle, scope="change").begin(session, "ada", ADDRESS)


class TestFail:
    async def test_never_adds_up_failures_that_are_far_apart(
        self, throttle: Throttle, session: Session, after: Wait
    ) -> None:
        for number in range(12):
            after(DAY * number)
            await throttle.fail(session, await throttle.begin(session, "ada", ADDRESS))
            await throttle.begin(session, "ada", ADDRESS)

    async def test_counts_by_hashes_and_refuses_concurrent_guesses_beyond_the_limit(
        self, throttle: Throttle, session: Session
    ) -> None:
        attempt = await throttle.begin(session, "ada", ADDRESS)
        for _ in range(3):
            await throttle.fail(session, attempt)
        counters = (await session.execute(select(Guesses.key, Guesses.failures))).all()
        assert [(len(key), failures) for key, failures in counters] == [(64, 3)] * 3
        with pytest.raises(TooManyGuesses):
            await throttle.fail(session, attempt)

    async def test_counts_anew_after_the_clock_was_set_back(
        self, throttle: Throttle, session: Session, after: Wait
    ) -> None:
        after(2 * DAY)
        for _ in range(LIMITS.account_failures):
            await throttle.fail(session, await throttle.begin(session, "ada", ADDRESS))
        with pytest.raises(TooManyGuesses):
            await throttle.begin(session, "ada", ADDRESS)
        after(0)
        await throttle.fail(session, await throttle.begin(session, "ada", ADDRESS))
        with pytest.raises(TooManyGuesses):
            await throttle.begin(session, "ada", ADDRESS)


class TestCheck:
    @pytest.mark.parametrize(
        ("before", "meanwhile", "exceeded"), [(0, 2, False), (0, 3, True), (2, 0, False)]
    )
    async def test_counts_failures_in_the_meantime(
        self, throttle: Throttle, session: Session, before: int, meanwhile: int, exceeded: bool
    ) -> None:
        await fail(throttle, session, before)
        attempt = await throttle.begin(session, "ada", ADDRESS)
        await fail(throttle, session, meanwhile)

        assert bool(await session.scalar(select(throttle.exceeded(attempt)))) is exceeded
        if exceeded:
            with pytest.raises(TooManyGuesses):
                await throttle.check(session, attempt.limits)
        else:
            await throttle.check(session, attempt.limits)


class TestClear:
    async def test_writes_nothing_for_a_day_after_a_login(
        self, throttle: Throttle, session: Session, after: Wait
    ) -> None:
        for seconds, statements in ((0, 1), (DAY, 0), (DAY + 1, 1), (DAY + 2, 0)):
            after(seconds)
            attempt = await throttle.begin(session, "ada", ADDRESS)
            with measure() as sent:
                await throttle.clear(session, attempt)
            assert sent.statements == statements


class TestPrune:
    async def test_deletes_counts_that_have_ended(
        self, throttle: Throttle, session: Session, after: Wait
    ) -> None:
        await fail(throttle, session, 1)
        await succeed(throttle, session)
        deleted = []
        for seconds in (599, 600, DAY, 30 * DAY):
            after(seconds)
            deleted.append(await throttle.prune(session))
        # The cleared count, that of the network, that of the day, the known network.
        assert deleted == [1, 1, 1, 1]
