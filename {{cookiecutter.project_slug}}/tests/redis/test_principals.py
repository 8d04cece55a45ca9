"""Who stands behind tokens, remembered by all processes: what can happen at once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.core.clock import utc_now
from app.core.config.redis import RedisSettings
from app.domain.auth import KeyHolder, SessionHolder
from app.infrastructure.outbox import Outbox
from app.infrastructure.redis import GuardedRedis, RedisUnavailable, principals
from app.infrastructure.redis.principals import RedisPrincipals
from tests.contract.test_shared_state import Source
from tests.support.waiting import PATIENCE, eventually


class CountingRedis(GuardedRedis):
    """Counts the commands that it has answered."""

    answers = 0

    async def command(self, *words: str | bytes | int) -> Any:
        answer = await super().command(*words)
        self.answers += 1
        return answer


class Process:
    """A process of the service, as far as its principals go."""

    def __init__(self, redis: CountingRedis, outbox: Outbox, prefix: str) -> None:
        self.redis, self.outbox = redis, outbox
        self.cache = RedisPrincipals(redis, outbox, prefix=prefix, seconds=60, token_seconds=900)

    async def have_found_nothing(self, number: int) -> None:
        """Return when so many have looked in Redis, and wait for the database."""

        async def have_looked() -> bool:
            return self.redis.answers == number

        await eventually(have_looked, f"{number} have looked")

    async def session(self, source: Source) -> SessionHolder | None:
        return await self.cache.session(source.user.id, source.session_id, source.load_session)

    async def key(self, source: Source) -> KeyHolder | None:
        return await self.cache.api_key(source.key_hash, source.load_key)


@pytest.fixture
async def processes(redis_settings: RedisSettings) -> AsyncIterator[tuple[Process, Process]]:
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            redis = await stack.enter_async_context(CountingRedis.open(redis_settings))
            assert isinstance(redis, CountingRedis)
            outbox = await stack.enter_async_context(
                Outbox.open("redis", RedisUnavailable, retry_seconds=0.01)
            )
            made.append(Process(redis, outbox, redis_settings.prefix))
        yield made[0], made[1]


@pytest.fixture
def one(processes: tuple[Process, Process]) -> Process:
    return processes[0]


@pytest.fixture
def other(processes: tuple[Process, Process]) -> Process:
    return processes[1]


class SlowSource(Source):
    """A database that answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._is_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def load_session(self) -> SessionHolder | None:
        found = await super().load_session()
        self._is_asked.set()
        await self.may_answer.wait()
        return found

    async def until_asked(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._is_asked.wait()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def slow() -> SlowSource:
    return SlowSource()


class TestRemembering:
    async def test_asks_the_database_once_for_all_processes(
        self, one: Process, other: Process, source: Source
    ) -> None:
        for process in (one, other, one):
            assert await process.session(source) == source.session
        assert source.asked == 1

    async def test_asks_for_a_key_and_then_for_its_user(
        self, one: Process, other: Process, source: Source
    ) -> None:
        for process in (one, other, one, other):
            assert await process.key(source) == source.key
        # Whose key it is shows when it is there: only then the user can be remembered.
        assert source.asked == 2

    async def test_shares_a_user_between_sessions_and_keys(
        self, one: Process, source: Source
    ) -> None:
        await one.session(source)
        await one.key(source)
        assert await one.key(source) == source.key
        assert source.asked == 2

    async def test_lasts_no_longer_than_the_session(self, one: Process, source: Source) -> None:
        assert source.session is not None
        ends = utc_now() + timedelta(seconds=50)
        source.session = replace(source.session, expires_at=ends)
        await one.session(source)
        (key,) = await one.redis.command("KEYS", f"*:session:{source.session_id}")
        assert 0 < await one.redis.command("PTTL", key) <= 50_000

    async def test_does_not_read_what_another_release_has_written(
        self, one: Process, source: Source
    ) -> None:
        await one.session(source)
        (key,) = await one.redis.command("KEYS", f"*:session:{source.session_id}")
        await one.redis.command("SET", key, b'v01234567{"shape": "of tomorrow"}')
        assert await one.session(source) == source.session
        assert source.asked == 2

    async def test_knows_that_a_session_has_ended_without_asking(
        self, one: Process, other: Process, source: Source
    ) -> None:
        await one.session(source)
        await one.cache.forget_sessions([source.session_id])
        assert await other.session(source) is None
        assert source.asked == 1

    async def test_does_not_mix_users_up(self, one: Process, source: Source) -> None:
        await one.session(source)
        stranger = Source()
        stranger.session_id = source.session_id
        await one.key(stranger)
        await one.key(stranger)
        assert await one.session(stranger) is None


class TestStampede:
    async def test_asks_once_however_many_come_at_once(
        self, one: Process, other: Process, slow: SlowSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for limit in ("_WAIT_SECONDS", "_LEASE_SECONDS"):
            monkeypatch.setattr(principals, limit, PATIENCE)
        waiting = [asyncio.create_task(process.session(slow)) for process in (one, other) * 20]
        await slow.until_asked()
        slow.may_answer.set()
        assert await asyncio.gather(*waiting) == [slow.session] * 40
        assert slow.asked == 1

    async def test_goes_on_when_the_first_goes_away(self, one: Process, slow: SlowSource) -> None:
        first = asyncio.create_task(one.session(slow))
        await slow.until_asked()
        second = asyncio.create_task(one.session(slow))
        await one.have_found_nothing(2)
        first.cancel()
        slow.may_answer.set()
        assert await second == slow.session

    async def test_tells_all_when_the_database_is_away(self, one: Process, source: Source) -> None:
        may_fail = asyncio.Event()

        async def fail() -> SessionHolder | None:
            source.asked += 1
            await may_fail.wait()
            raise ConnectionError

        waiting = [
            asyncio.create_task(one.cache.session(source.user.id, source.session_id, fail))
            for _ in range(5)
        ]
        await one.have_found_nothing(5)
        may_fail.set()
        failed = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in failed] == [ConnectionError] * 5
        assert source.asked == 1
        assert await one.session(source) == source.session

    async def test_does_not_wait_for_ever_for_another_process(
        self, one: Process, other: Process, slow: SlowSource, source: Source
    ) -> None:
        source.user, source.session_id, source.session = slow.user, slow.session_id, slow.session
        stuck = asyncio.create_task(one.session(slow))
        await slow.until_asked()
        assert await other.session(source) == source.session
        slow.may_answer.set()
        await stuck


class TestChangeMeanwhile:
    async def test_is_not_overwritten_by_who_has_read_before_it(
        self, one: Process, other: Process, slow: SlowSource
    ) -> None:
        reading = asyncio.create_task(one.session(slow))
        await slow.until_asked()
        slow.session = None
        await other.cache.forget_sessions([slow.session_id])
        slow.may_answer.set()
        await reading
        assert await one.session(slow) is None
        assert await other.session(slow) is None

    async def test_of_a_user_is_not_overwritten_either(
        self, one: Process, other: Process, slow: SlowSource
    ) -> None:
        assert slow.session is not None
        reading = asyncio.create_task(one.session(slow))
        await slow.until_asked()
        slow.session = replace(slow.session, user=replace(slow.user, role="admin"))
        await other.cache.forget_user(slow.user.id)
        slow.may_answer.set()
        await reading
        for process in (one, other):
            assert await process.session(slow) == slow.session

    async def test_is_seen_by_who_asks_after_it_while_the_reading_goes_on(
        self, one: Process, other: Process, slow: SlowSource
    ) -> None:
        before = asyncio.create_task(one.session(slow))
        await slow.until_asked()
        slow.session = None
        await other.cache.forget_user(slow.user.id)
        after = asyncio.create_task(one.session(slow))
        await one.have_found_nothing(2)
        slow.may_answer.set()
        await before
        assert await after is None


class TestRedisIsAway:
    @pytest.fixture
    def away(self, one: Process, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
        async def refuse(*_: object) -> object:
            raise RedisUnavailable

        with monkeypatch.context() as patch:
            patch.setattr(one.redis, "command", refuse)
            patch.setattr(one.redis, "run", refuse)
            yield patch

    async def test_asks_the_database_each_time(
        self, one: Process, source: Source, away: pytest.MonkeyPatch
    ) -> None:
        for _ in range(2):
            assert await one.session(source) == source.session
            assert await one.key(source) == source.key
        assert source.asked == 4

    async def test_asks_the_database_if_it_goes_in_between(
        self, one: Process, source: Source, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = one.redis.run

        async def refuse_second(*arguments: object) -> object:
            monkeypatch.setattr(one.redis, "run", refuse)
            return await run(*arguments)  # type: ignore[arg-type]

        async def refuse(*_: object) -> object:
            raise RedisUnavailable

        monkeypatch.setattr(one.redis, "run", refuse_second)
        assert await one.session(source) == source.session
        assert await one.cache.session(
            source.user.id, Source().session_id, source.load_session
        ) == (source.session)

    async def test_delivers_what_it_could_not_say_when_it_is_back(
        self, one: Process, other: Process, source: Source, away: pytest.MonkeyPatch
    ) -> None:
        await other.session(source)
        await other.key(source)
        source.session = source.key = None
        await one.cache.forget_sessions([source.session_id])
        await one.cache.forget_api_key(source.key_hash)
        await one.cache.forget_user(source.user.id)
        # This process knows; the other one cannot, yet.
        assert await one.session(source) is None
        assert await one.key(source) is None
        away.undo()

        async def is_delivered() -> bool:
            return not len(one.outbox)

        await eventually(is_delivered, "Redis has heard of it")
        assert await other.session(source) is None
        assert await other.key(source) is None
