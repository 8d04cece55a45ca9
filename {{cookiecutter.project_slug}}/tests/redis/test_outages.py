"""Redis goes and comes back while requests are served: no error, no long wait, all as before."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import httpx2
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from app.core.config import Settings
from app.domain.ids import new_id
from app.main import create_app
from tests.conftest import async_client_of
from tests.support.answers import Recorded
from tests.support.arrange import Arrange, Someone
from tests.support.redis_plugin import OwnRedis
from tests.support.waiting import eventually

ITEMS = "/api/v1/items"
CALL_SECONDS = 0.25
PATIENCE_SECONDS = 20.0
"""What a request may take while Redis is going: a few calls in vain, on a slow machine."""


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
    quick = {
        "url": redis.url,
        "timeout": CALL_SECONDS,
        "breaker_failures": 3,
        "breaker_seconds": 0.1,
    }
    app = recorded(create_app(make_settings(own_database_url, redis=quick)))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def caller(served: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with async_client_of(served) as client, asyncio.timeout(60):
        yield client


@pytest.fixture
async def someone(served: FastAPI, password_hash: str) -> Someone:
    return await Arrange(lambda: served.state.resources, password_hash).someone()


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
    """Requests of several clients, one after the other, until they are stopped."""

    def __init__(self, caller: httpx2.AsyncClient, someone: Someone) -> None:
        self._client, self._someone = caller, someone
        self._stopped = False
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.all: set[tuple[str, int]] = set()
        self.longest = 0.0

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(4)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def some_more(self, number: int = 10) -> None:
        """Return when as many requests have been answered."""
        enough = self.statuses.total() + number

        async def are_answered() -> bool:
            return self.statuses.total() >= enough

        await eventually(are_answered, "requests are answered")

    async def until_answered(self, kind: str, status: int) -> None:
        """Return when a request of a kind has been answered so."""
        before = self.statuses[kind, status]

        async def is_answered() -> bool:
            return self.statuses[kind, status] > before

        await eventually(is_answered, f"a {kind} request gets a {status}")

    async def _ask(self) -> None:
        while not self._stopped:
            await self._timed("read", self._client.get, ITEMS, headers=self._someone.headers)
            headers = {**self._someone.headers, "Idempotency-Key": new_id().hex}
            body = {"title": "Note G"}
            await self._timed("keyed", self._client.post, ITEMS, headers=headers, json=body)

    async def _timed(self, kind: str, send: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        started = time.monotonic()
        response = await send(*args, **kwargs)
        self.longest = max(self.longest, time.monotonic() - started)
        self.statuses[kind, response.status_code] += 1
        self.all.add((kind, response.status_code))


class TestUnderLoad:
    @pytest.mark.parametrize(
        ("gone", "back"),
        [
            pytest.param(OwnRedis.kill, OwnRedis.start, id="killed"),
            pytest.param(OwnRedis.freeze, OwnRedis.thaw, id="frozen"),
        ],
    )
    async def test_goes_on_without_redis_and_uses_it_again(
        self,
        caller: httpx2.AsyncClient,
        someone: Someone,
        redis: OwnRedis,
        gone: Callable[[OwnRedis], None],
        back: Callable[[OwnRedis], None],
    ) -> None:
        async with Load(caller, someone) as load:
            await load.until_answered("keyed", 201)
            gone(redis)
            await until_redis_is(caller, "degraded")
            await load.some_more()  # those that had begun before
            load.statuses.clear()
            await load.some_more()
            # What is promised by a key can't be kept; all else goes on.
            assert set(load.statuses) == {("read", 200), ("keyed", 503)}
            back(redis)
            await until_redis_is(caller, "up")
            await load.until_answered("keyed", 201)
        assert set(load.all) == {("read", 200), ("keyed", 201), ("keyed", 503)}
        assert load.longest < PATIENCE_SECONDS


class TestWhileRedisIsAway:
    async def test_limits_are_those_of_the_process(
        self,
        make_settings: Callable[..., Settings],
        own_database_url: str,
        redis: OwnRedis,
        password_hash: str,
    ) -> None:
        settings = make_settings(
            own_database_url,
            redis={"url": redis.url, "timeout": CALL_SECONDS},
            rate_limits={"general_account": "3/hour"},
        )
        redis.kill()
        app = create_app(settings)
        async with app.router.lifespan_context(app), async_client_of(app) as client:
            ada = await Arrange(lambda: app.state.resources, password_hash).someone()
            answers = [await client.get(ITEMS, headers=ada.headers) for _ in range(4)]
        assert [each.status_code for each in answers] == [200, 200, 200, 429]

    async def test_a_logout_counts_at_once_and_after_it_is_back(
        self, caller: httpx2.AsyncClient, someone: Someone, redis: OwnRedis
    ) -> None:
        assert (await caller.get(ITEMS, headers=someone.headers)).status_code == 200
        redis.freeze()
        body = {"refresh_token": someone.refresh_token}
        assert (await caller.post("/api/v1/auth/logout", json=body)).status_code == 204
        assert (await caller.get(ITEMS, headers=someone.headers)).status_code == 401
        redis.thaw()
        await until_redis_is(caller, "up")
        assert (await caller.get(ITEMS, headers=someone.headers)).status_code == 401


class TestWithRedis:
    async def test_a_token_is_checked_and_revoked_without_a_query(
        self, caller: httpx2.AsyncClient, someone: Someone
    ) -> None:
        me = "/api/v1/users/me"
        await caller.get(me, headers=someone.headers)
        with capture_logs() as logs:
            assert (await caller.get(me, headers=someone.headers)).status_code == 200
        assert [log.get("statements", 0) for log in logs if log["event"] == "request"] == [0]
        session = f"/api/v1/auth/sessions/{someone.session_id}"
        assert (await caller.delete(session, headers=someone.headers)).status_code == 204
        with capture_logs() as logs:
            assert (await caller.get(me, headers=someone.headers)).status_code == 401
        assert [log.get("statements", 0) for log in logs if log["event"] == "request"] == [0]

    async def test_is_asked_when_the_service_is(self, caller: httpx2.AsyncClient) -> None:
        await until_redis_is(caller, "up")
