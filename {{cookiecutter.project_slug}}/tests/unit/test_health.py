"""Probes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient, Response
from structlog.testing import capture_logs

from app.core.config import HealthSettings, HttpSettings
from app.core.errors import DatabaseUnavailable
from app.core.ports import HealthCheck
from app.infrastructure.http import health
from app.infrastructure.http.handlers import add_exception_handlers
from app.infrastructure.http.health import NotReady, Readiness, examine
from app.infrastructure.http.middleware import middleware
from app.infrastructure.http.problems import Problem


async def is_up() -> None: ...


async def is_down() -> None:
    raise ConnectionRefusedError("database://app:hunter2@db")


async def never_answers() -> None:
    await asyncio.Event().wait()


def check(name: str, ask: Callable[[], Awaitable[None]], *, required: bool = True) -> HealthCheck:
    return HealthCheck(name, ask, required)


def build(*checks: HealthCheck) -> FastAPI:
    app = FastAPI(title="A", version="1.2", middleware=middleware(HttpSettings()))
    add_exception_handlers(app)
    settings = HealthSettings(timeout_seconds=0.05, cache_seconds=60)
    health.add_routes(app, checks=lambda _: checks, settings=settings)
    return app


async def get(path: str, *checks: HealthCheck) -> Response:
    transport = ASGITransport(app=build(*checks))
    async with AsyncClient(transport=transport, base_url="http://api") as api:
        return await api.get(path)


class TestHealth:
    async def test_names_the_service_and_its_version(self) -> None:
        response = await get("/health", check("database", is_down))
        assert response.status_code == 200
        assert response.json() == {"status": "ok", "name": "A", "version": "1.2"}
        assert response.headers["cache-control"] == "no-store"


class TestLiveness:
    async def test_checks_nothing(self) -> None:
        response = await get("/live", check("database", is_down))
        assert (response.status_code, response.json()) == (200, {"status": "alive"})


class TestReadiness:
    async def test_is_ready_if_everything_is_up(self) -> None:
        response = await get("/ready", check("database", is_up), check("cache", is_up))
        assert response.status_code == 200
        readiness = Readiness.model_validate(response.json())
        assert readiness.status == "ready"
        assert [(each.name, each.status) for each in readiness.checks] == [
            ("database", "up"),
            ("cache", "up"),
        ]

    @pytest.mark.parametrize("ask", [is_down, never_answers])
    async def test_names_failed_checks(self, ask: Callable[[], Awaitable[None]]) -> None:
        response = await get(
            "/ready",
            check("database", ask),
            check("cache", ask, required=False),
            check("queue", is_up),
        )
        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"
        assert int(response.headers["retry-after"]) > 0
        problem = Problem.model_validate(response.json())
        assert problem.code == "not_ready"
        assert problem.detail == "database is down; cache is degraded."
        assert [(each.field, each.code) for each in problem.errors] == [
            ("database", "down"),
            ("cache", "degraded"),
        ]
        assert "hunter2" not in response.text

    async def test_is_degraded_without_a_dependency_that_is_not_required(self) -> None:
        response = await get(
            "/ready", check("database", is_up), check("cache", is_down, required=False)
        )
        assert response.status_code == 200
        assert response.json()["status"] == "degraded"
        assert [each["status"] for each in response.json()["checks"]] == ["up", "degraded"]

    async def test_runs_checks_concurrently(self) -> None:
        everybody = asyncio.Barrier(3)

        async def meet() -> None:
            await everybody.wait()

        readiness = await examine([check(name, meet) for name in "abc"], time_limit=5)
        assert [each.status for each in readiness.checks] == ["up"] * 3

    @pytest.mark.parametrize("fails", [False, True])
    async def test_caches_the_result(self, fails: bool) -> None:
        asked = 0

        async def count() -> None:
            nonlocal asked
            asked += 1
            if fails:
                raise ConnectionRefusedError

        transport = ASGITransport(app=build(check("database", count)))
        async with AsyncClient(transport=transport, base_url="http://api") as api:
            answers = [await asyncio.gather(*(api.get("/ready") for _ in range(9)))]
            answers.append([await api.get("/ready")])
        statuses = {answer.status_code for several in answers for answer in several}
        assert (asked, statuses) == (1, {503 if fails else 200})

    async def test_checks_again_after_a_while(self) -> None:
        app = FastAPI()
        answers = iter([is_down, is_up])
        settings = HealthSettings(cache_seconds=0)
        health.add_routes(
            app, checks=lambda _: [check("cache", next(answers), required=False)], settings=settings
        )
        async with AsyncClient(transport=ASGITransport(app=app), base_url="http://api") as api:
            statuses = [(await api.get("/ready")).json()["status"] for _ in range(2)]
        assert statuses == ["degraded", "ready"]

    async def test_continues_if_the_first_client_disconnects(self) -> None:
        asked, answered = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            asked.set()
            await answered.wait()

        app = FastAPI()
        health.add_routes(
            app, checks=lambda _: [check("database", wait)], settings=HealthSettings()
        )
        async with AsyncClient(transport=ASGITransport(app=app), base_url="http://api") as api:
            first, second = (asyncio.create_task(api.get("/ready")) for _ in range(2))
            await asked.wait()
            first.cancel()
            await asyncio.wait({first})
            answered.set()
            assert (await second).status_code == 200

    async def test_lets_a_cancellation_through(self) -> None:
        asked = asyncio.Event()

        async def wait() -> None:
            asked.set()
            await never_answers()

        task = asyncio.create_task(examine([check("database", wait)], time_limit=60))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_logs_why_without_the_message(self) -> None:
        async def is_full() -> None:
            raise DatabaseUnavailable(reason="disk full")

        with capture_logs() as log, pytest.raises(NotReady):
            await examine([check("database", is_down), check("disk", is_full)], time_limit=5)
        logged = {"event": "health check failed", "log_level": "warning"}
        assert log == [
            {**logged, "name": "database", "cause": "ConnectionRefusedError"},
            {**logged, "name": "disk", "cause": "DatabaseUnavailable", "reason": "disk full"},
        ]
