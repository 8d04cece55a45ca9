"""Requests while Redis fails and recovers: no error, no long wait."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Self

import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from app.config import Settings
from app.core.ids import new_id
from app.main import create_app
from tests.conftest import async_client_of
from tests.support.answers import Recorded
from tests.support.arrange import Account, Arrange
from tests.support.metrics_plugin import until, value
from tests.support.redis_plugin import OwnRedis
from tests.support.things import CREATE_TABLE, THINGS, with_things
from tests.support.waiting import eventually

ME = "/api/v1/users/me"
QUICK: Final[dict[str, Any]] = {
    "timeout": 0.25,
    "connect_timeout": 1.0,
    "breaker_failures": 3,
    "breaker_seconds": 0.1,
}
"""Short limits, so that an outage does not slow the test."""

UNLIMITED: Final = {"general_address": "1000000/hour", "general_account": "1000000/hour"}
"""More requests than the clients of a test send."""

Answered = tuple[str, int]
"""Kind of a request, and its status."""


@pytest.fixture
def redis(own_redis: Callable[[], OwnRedis]) -> OwnRedis:
    return own_redis()


@pytest.fixture
async def served(
    make_settings: Callable[..., Settings],
    own_database_url: str,
    redis: OwnRedis,
    recorded: Recorded,
) -> AsyncIterator[FastAPI]:
    """An application with a Redis of its own."""
    settings = make_settings(
        own_database_url,
        redis={"url": redis.url, **QUICK},
        rate_limits=UNLIMITED,
        metrics={"enabled": True},
    )
    app = recorded(with_things(create_app(settings)))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def caller(served: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with async_client_of(served) as client:
        yield client


@pytest.fixture
async def account(served: FastAPI, password_hash: str) -> Account:
    arrange = Arrange(lambda: served.state.resources, password_hash)
    await arrange.execute(CREATE_TABLE)
    return await arrange.account()


async def checks(caller: httpx2.AsyncClient) -> dict[str, str]:
    response = await caller.get("/ready")
    assert response.status_code == 200
    return {
        "all": response.json()["status"],
        **{each["name"]: each["status"] for each in response.json()["checks"]},
    }


async def until_redis_is(caller: httpx2.AsyncClient, status: str) -> None:
    async def is_so() -> bool:
        found = await checks(caller)
        assert found["database"] == "up"
        assert found["redis"] == "up" or found["all"] == "degraded"
        return found["redis"] == status

    await eventually(is_so, f"Redis is {status}")


class Load:
    """Requests of several clients, each sequential, until the block ends.

    Attributes:
        answers: All kinds and statuses.
    """

    def __init__(self, caller: httpx2.AsyncClient, account: Account) -> None:
        self._client, self._someone = caller, account
        self._stopped = False
        self.answers: set[Answered] = set()
        self._of_each: list[set[Answered]] = [set() for _ in range(4)]

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._ask(each)) for each in range(4)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def answers_from_now_on(self) -> set[Answered]:
        """Return the answers to new requests, once each client has both kinds."""
        of_each = self._of_each = [set() for _ in self._of_each]

        async def have_all() -> bool:
            return all({kind for kind, _ in answers} == {"read", "keyed"} for answers in of_each)

        await eventually(have_all, "each client has both kinds of answers")
        return set().union(*of_each)

    async def until_answered(self, kind: str, status: int) -> None:
        """Wait for such an answer to a new request."""
        of_each = self._of_each = [set() for _ in self._of_each]

        async def is_answered() -> bool:
            return any((kind, status) in answers for answers in of_each)

        await eventually(is_answered, f"a {kind} request gets a {status}")

    async def _ask(self, number: int) -> None:
        while not self._stopped:
            await self._noted(number, "read", self._client.get, headers=self._someone.headers)
            headers = {**self._someone.headers, "Idempotency-Key": new_id().hex}
            body = {"title": "Note G"}
            await self._noted(number, "keyed", self._client.post, headers=headers, json=body)

    async def _noted(self, number: int, kind: str, send: Callable[..., Any], **what: Any) -> None:
        # Taken before the request: `_of_each` may be replaced meanwhile.
        answers = self._of_each[number]
        response = await send(ME if kind == "read" else THINGS, **what)
        answers.add((kind, response.status_code))
        self.answers.add((kind, response.status_code))


class TestUnderLoad:
    @pytest.mark.parametrize(
        ("gone", "back"),
        [
            pytest.param(OwnRedis.kill, OwnRedis.start, id="killed"),
            pytest.param(OwnRedis.freeze, OwnRedis.thaw, id="frozen"),
        ],
    )
    async def test_continues_without_redis_and_resumes(
        self,
        caller: httpx2.AsyncClient,
        account: Account,
        redis: OwnRedis,
        gone: Callable[[OwnRedis], None],
        back: Callable[[OwnRedis], None],
    ) -> None:
        async with Load(caller, account) as load:
            await load.until_answered("keyed", 201)
            gone(redis)
            try:
                await until_redis_is(caller, "degraded")
                assert await load.answers_from_now_on() == {("read", 200), ("keyed", 201)}
            finally:
                back(redis)  # else the open requests would never end
            await until_redis_is(caller, "up")
            await load.until_answered("keyed", 201)
        assert load.answers == {("read", 200), ("keyed", 201)}


class TestFullRedis:
    async def test_degrades_readiness_until_it_has_room(
        self, caller: httpx2.AsyncClient, redis: OwnRedis
    ) -> None:
        await until_redis_is(caller, "up")
        async with Redis.from_url(redis.url) as client:
            await client.config_set("maxmemory", 1)
            full = await checks(caller)
            for _ in range(QUICK["breaker_failures"]):
                await checks(caller)
            await until(caller, 0, "redis_up")
            assert await value(caller, "redis_errors_total") >= QUICK["breaker_failures"]
            await client.config_set("maxmemory", 0)
        await until_redis_is(caller, "up")
        await until(caller, 1, "redis_up")
        assert (full["all"], full["database"], full["redis"]) == ("degraded", "up", "degraded")
