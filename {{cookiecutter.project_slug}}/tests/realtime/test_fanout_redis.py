"""Several processes by way of Redis: each a hub of its own here, on the same server.

`test_processes.py` has real processes; these tests look at what is hard to time there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from structlog.testing import capture_logs
from structlog.typing import EventDict

from app.config import Settings
from app.core.config.redis import RedisSettings
from app.domain.realtime import LOBBY
from app.infrastructure.realtime import Hub, fanout
from app.infrastructure.realtime.connections import Envelope
from app.infrastructure.realtime.messages import PresenceMessage
from app.infrastructure.redis import RedisUnavailable, open_redis
from tests.support.redis_plugin import OwnRedis
from tests.support.sockets import client_in, heard, joined, nobody_leaves, words
from tests.support.waiting import PATIENCE, eventually

OpenHub = Callable[..., AbstractAsyncContextManager[Hub]]


QUICK: Final = {"timeout": 0.25, "connect_timeout": 1.0, "breaker_seconds": 0.1}
"""Where Redis goes: whoever waits for it does not wait for long."""

LONG: Final = 600.0
"""Seconds after which a member lapses of whom nobody tells: none does so during a test."""

LOST: Final = "fan-out subscription lost"
REGAINED: Final = "fan-out resubscribed"


@pytest.fixture
def own_settings(settings: Settings, redis_settings: RedisSettings) -> Settings:
    return settings.model_copy(update={"redis": redis_settings})


@pytest.fixture
def process(own_settings: Settings) -> OpenHub:
    """Opens hubs, each as in a process of its own."""

    @asynccontextmanager
    async def opened(server: OwnRedis | None = None, **limits: Any) -> AsyncIterator[Hub]:
        redis = own_settings.redis.model_copy(
            update={"url": SecretStr(server.url), **QUICK} if server else {}
        )
        realtime = own_settings.realtime.model_copy(update=limits)
        own = own_settings.model_copy(update={"redis": redis, "realtime": realtime})
        async with Hub.open(own, nobody_leaves) as hub:
            yield hub

    return opened


@pytest.fixture
def often(process: OpenHub, monkeypatch: pytest.MonkeyPatch) -> OpenHub:
    """Opens hubs that tell of their members as often as if these lapsed at once."""

    async def soon(_: float) -> None:
        await asyncio.sleep(0.01)

    monkeypatch.setattr(fanout, "_pause", soon)
    return partial(process, presence_seconds=LONG)


@pytest.fixture
async def redis(redis_settings: RedisSettings) -> AsyncIterator["Redis"]:
    async with open_redis(redis_settings) as client:
        yield client


@pytest.fixture
def topic(redis_settings: RedisSettings) -> str:
    return f"{redis_settings.prefix}:realtime:1:messages"


@pytest.fixture
def lobby(redis_settings: RedisSettings) -> str:
    """Where Redis has who is in the lobby, by the moment at which they count as gone."""
    return f"{redis_settings.prefix}:realtime:1:present:{LOBBY}"


class TestTwoProcesses:
    async def test_hear_each_other_once_and_in_the_order_of_each_sender(
        self, process: OpenHub
    ) -> None:
        async with (
            process() as one,
            process() as other,
            joined(one) as here,
            joined(other) as there,
        ):
            await heard(here, "joined")
            for number in range(100):
                one.publish(words(f"one {number}"), LOBBY)
                other.publish(words(f"other {number}"), LOBBY)
            for connection in (here, there):
                texts = [(await heard(connection, "said"))["text"] for _ in range(200)]
                for name in ("one", "other"):
                    said = [text for text in texts if text.startswith(f"{name} ")]
                    assert said == [f"{name} {number}" for number in range(100)]

    async def test_hear_what_is_for_all_and_not_what_is_for_others(self, process: OpenHub) -> None:
        async with process() as one, process() as other, joined(other) as there:
            one.publish(words("for nobody"), "user:nobody")
            one.publish(words("for all"))
            assert (await heard(there))["text"] == "for all"

    async def test_know_who_is_where(self, process: OpenHub) -> None:
        async with process() as one, process() as other, joined(one) as here:
            async with joined(other) as there:
                came = await heard(here)
                present = await one.present(LOBBY)
            went = await heard(here)

        assert (came["type"], went["type"]) == ("joined", "left")
        assert came["member"] == went["member"]
        assert {*present.members} == {here.client.member, there.client.member}

    async def test_learn_of_members_whose_process_was_killed(
        self, often: OpenHub, redis: "Redis", lobby: str
    ) -> None:
        async with often() as one, joined(one) as here:
            async with often() as killed:
                lost = client_in()
                await killed._fanout.enter(LOBBY, lost.member)
            assert (await one.present(LOBBY)).total == 2

            await redis.zadd(lobby, {lost.member.model_dump_json(): 0})
            went = await heard(here, "left")

            assert went["member"]["connection_id"] == str(lost.id)
            assert (await one.present(LOBBY)).total == 1

    async def test_keep_their_members_for_as_long_as_they_live(
        self, often: OpenHub, redis: "Redis", lobby: str
    ) -> None:
        async with often() as one, often() as other, joined(one), joined(other):
            seconds, _ = await redis.time()
            soon = seconds + LONG / 2
            members: Any = await redis.zrange(lobby, 0, -1)
            await redis.zadd(lobby, dict.fromkeys(members, soon))

            async def last_longer() -> bool:
                return bool(await redis.zcount(lobby, f"({soon}", "+inf") == 2)

            await eventually(last_longer, "members are said to be there still")
            assert (await one.present(LOBBY)).total == 2


class TestPackets:
    async def test_are_heard_once_even_if_they_come_twice(
        self, process: OpenHub, redis: "Redis", topic: str
    ) -> None:
        async with process() as one, joined(one) as here:
            async with process() as other:
                other.publish(words("once"), LOBBY)
                packet = other._fanout._outbox[0]
                assert (await heard(here))["text"] == "once"
            await redis.publish(topic, packet)
            one.publish(words("after"), LOBBY)
            assert (await heard(here))["text"] == "after"

    @pytest.mark.parametrize(
        "packet",
        [
            pytest.param(b"nonsense", id="no packet"),
            pytest.param(b"a b * - {}", id="no number"),
            pytest.param(b"a 1 lobby me {}", id="no connection"),
            pytest.param(b"a 1 \xff - {}", id="no text"),
        ],
    )
    async def test_that_can_not_be_read_are_passed_over(
        self, process: OpenHub, redis: "Redis", topic: str, packet: bytes
    ) -> None:
        async with process() as one, process() as other, joined(one) as here:
            with capture_logs() as lines:
                await redis.publish(topic, packet)
                other.publish(words("after"), LOBBY)
                assert (await heard(here))["text"] == "after"
        assert {line["log_level"] for line in lines} == {"warning"}

    async def test_of_few_processes_are_remembered(
        self, process: OpenHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fanout, "_PROCESSES", 1)
        async with process() as one, joined(one) as here:
            for name in ("first", "second"):
                async with process() as other:
                    other.publish(words(name), LOBBY)
                    assert (await heard(here))["text"] == name
            assert len(one._fanout._received) == 1

    async def test_do_not_spare_the_wrong_one(self, process: OpenHub) -> None:
        async with process() as one, process() as other, joined(one) as here:
            someone = client_in()
            presence = PresenceMessage(type="joined", member=someone.member).model_dump_json()
            other._deliver(Envelope(presence, LOBBY, here.client.id))
            other._deliver(Envelope(presence, LOBBY, someone.id))
            other.publish(words("after"), LOBBY)
            assert [(await heard(here))["type"] for _ in range(2)] == ["joined", "said"]


class TestOutage:
    async def test_leaves_each_process_to_itself_and_is_told_when_it_is_over(
        self, process: OpenHub, own_redis: Callable[[], OwnRedis]
    ) -> None:
        server = own_redis()
        async with (
            process(server) as one,
            process(server) as other,
            joined(one) as here,
            joined(other) as there,
        ):
            await heard(here, "joined")
            server.kill()
            one.publish(words("during"), LOBBY)
            assert (await heard(here))["text"] == "during"
            async with joined(one) as late:
                assert (await heard(here))["type"] == "joined"
                assert (await one.present(LOBBY)).members == (
                    here.client.member,
                    late.client.member,
                )
            server.start()
            await heard(here, "resync")
            await heard(there, "resync")
            one.publish(words("after"), LOBBY)
            while (await heard(there, "said"))["text"] != "after":
                """What was said during the outage may be heard now."""

    async def test_that_is_only_silence_is_noticed(
        self,
        process: OpenHub,
        own_redis: Callable[[], OwnRedis],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(fanout, "_SILENT_SECONDS", 0.3)
        server = own_redis()
        with capture_logs() as lines:
            async with process(server) as one, joined(one) as here:
                server.freeze()
                async with asyncio.timeout(PATIENCE):
                    connection = await one.join(client_in())
                one.publish(words("during"), LOBBY)
                assert (await heard(connection, "said"))["text"] == "during"
                await one.leave(connection)
                await eventually(lambda: is_cut_off(lines))
                server.thaw()
                await heard(here, "resync")

    async def test_at_the_start_keeps_nobody_from_serving(
        self, process: OpenHub, own_redis: Callable[[], OwnRedis]
    ) -> None:
        server = own_redis()
        server.kill()
        with capture_logs() as lines:
            async with process(server) as one, joined(one) as here:
                one.publish(words("alone"), LOBBY)
                assert (await heard(here))["text"] == "alone"
                server.start()
                assert (await heard(here))["type"] == "resync"
        told = [line["event"] for line in lines]
        assert told.count(LOST) == 1
        assert REGAINED in told

    async def test_does_not_end_the_beat(
        self,
        often: OpenHub,
        own_redis: Callable[[], OwnRedis],
        redis_settings: RedisSettings,
        lobby: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server = own_redis()
        url = SecretStr(server.url)
        async with (
            often(server) as one,
            joined(one),
            open_redis(redis_settings.model_copy(update={"url": url})) as redis,
        ):
            beat, has_failed = one._fanout._renew, asyncio.Event()

            async def noted(channel: str) -> None:
                try:
                    await beat(channel)
                except RedisUnavailable:
                    has_failed.set()
                    raise

            monkeypatch.setattr(one._fanout, "_renew", noted)
            server.kill()
            async with asyncio.timeout(PATIENCE):
                await has_failed.wait()
            server.start()
            await redis.delete(lobby)

            async def is_known_again() -> bool:
                return bool(await redis.zcard(lobby) == 1)

            await eventually(is_known_again, "Redis is told who is there")


async def is_cut_off(lines: list[EventDict]) -> bool:
    """Whether it is now: a slow machine may have been so before, and is again after that."""
    told = [line["event"] for line in lines if line["event"] in {LOST, REGAINED}]
    return told[-1:] == [LOST]
