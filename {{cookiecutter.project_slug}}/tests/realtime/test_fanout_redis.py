"""Fan-out by Redis between hubs in one process; `test_processes_redis.py` has real ones."""

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
"""Short time limits, for tests of outages."""

LONG: Final = 600.0
"""Seconds after which a member expires; none does during a test."""

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
    """Opens hubs that renew their members constantly."""

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
    """The members of the lobby in Redis, by expiry."""
    return f"{redis_settings.prefix}:realtime:1:present:{LOBBY}"


class TestMembers:
    async def test_are_those_of_all_processes(self, process: OpenHub) -> None:
        async with process() as one, process() as other, joined(one) as here:
            async with joined(other) as there:
                came = await heard(here)
                present = await one.present(LOBBY)
            went = await heard(here)

        assert (came["type"], went["type"]) == ("joined", "left")
        assert came["member"] == went["member"]
        assert {*present.members} == {here.client.member, there.client.member}

    async def test_leave_when_their_process_was_killed(
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

    async def test_are_renewed(self, often: OpenHub, redis: "Redis", lobby: str) -> None:
        async with often() as one, often() as other, joined(one), joined(other):
            seconds, _ = await redis.time()
            soon = seconds + LONG / 2
            members: Any = await redis.zrange(lobby, 0, -1)
            await redis.zadd(lobby, dict.fromkeys(members, soon))

            async def last_longer() -> bool:
                return bool(await redis.zcount(lobby, f"({soon}", "+inf") == 2)

            await eventually(last_longer, "members are renewed")
            assert (await one.present(LOBBY)).total == 2


class TestPackets:
    async def test_are_delivered_once(self, process: OpenHub, redis: "Redis", topic: str) -> None:
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
    async def test_are_ignored_if_they_are_malformed(
        self, process: OpenHub, redis: "Redis", topic: str, packet: bytes
    ) -> None:
        async with process() as one, process() as other, joined(one) as here:
            with capture_logs() as lines:
                await redis.publish(topic, packet)
                other.publish(words("after"), LOBBY)
                assert (await heard(here))["text"] == "after"
        assert {line["log_level"] for line in lines} == {"warning"}

    async def test_are_remembered_of_few_processes(
        self, process: OpenHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fanout, "_PROCESSES", 1)
        async with process() as one, joined(one) as here:
            for name in ("first", "second"):
                async with process() as other:
                    other.publish(words(name), LOBBY)
                    assert (await heard(here))["text"] == name
            assert len(one._fanout._received) == 1

    async def test_reach_all_but_the_excluded_connection(self, process: OpenHub) -> None:
        async with process() as one, process() as other, joined(one) as here:
            other.publish(words("for nobody"), "user:nobody")
            other.publish(words("for all"))
            assert (await heard(here))["text"] == "for all"
            account = client_in()
            presence = PresenceMessage(type="joined", member=account.member).model_dump_json()
            other._deliver(Envelope(presence, LOBBY, here.client.id))
            other._deliver(Envelope(presence, LOBBY, account.id))
            other.publish(words("after"), LOBBY)
            assert [(await heard(here))["type"] for _ in range(2)] == ["joined", "said"]


class TestOutage:
    async def test_ends_with_a_resync(
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
                """Messages of the outage may arrive."""

    async def test_is_noticed_by_silence(
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

    async def test_at_the_start_does_not_matter(
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

    async def test_does_not_end_the_renewal(
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

            await eventually(is_known_again, "members are renewed")


async def is_cut_off(lines: list[EventDict]) -> bool:
    """Return whether the last change was the loss: a slow machine may lose and regain it before."""
    told = [line["event"] for line in lines if line["event"] in {LOST, REGAINED}]
    return told[-1:] == [LOST]
