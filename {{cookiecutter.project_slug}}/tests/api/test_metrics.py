"""`GET /metrics`: counters and gauges."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from app.config import Settings
from app.core.errors import DatabaseUnavailable
from app.core.ports import Measurement
from app.infrastructure.metrics import recorded
from app.main import create_app
from tests.support.metrics_plugin import Measured, free_port, samples, scraper, until, value
from tests.support.processes import server_process
from tests.support.waiting import PATIENCE, eventually

MakeClient = Callable[..., TestClient]
TOKEN = "a-token-for-scrapers"


@pytest.fixture
def client_with(make_settings: Callable[..., Settings], database_url: str) -> MakeClient:
    """Return a client of an application with these settings of its metrics."""

    def make(**metrics: object) -> TestClient:
        return TestClient(create_app(make_settings(database_url, metrics=metrics)))

    return make


class TestMetrics:
    def test_are_absent_unless_enabled(self, client: TestClient) -> None:
        assert client.get("/metrics").status_code == 404

    def test_count_requests_by_the_template_of_their_route(self, client_with: MakeClient) -> None:
        with client_with(enabled=True) as client:
            for path in (
                "/api/v1/users/01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10",
                "/no/such",
                "/metrics",
            ):
                client.get(path)
            shown = client.get("/metrics").text
        assert 'handler="/api/v1/users/{user_id}",method="GET",status="401"' in shown
        assert 'handler="/metrics"' not in shown
        assert "/no/such" not in shown

    def test_require_the_token(self, client_with: MakeClient) -> None:
        with client_with(enabled=True, token=TOKEN) as client:
            for given, status in {"Bearer another": 401, f"Bearer {TOKEN}": 200}.items():
                answer = client.get("/metrics", headers={"Authorization": given})
                assert answer.status_code == status
            assert client.get("/metrics").status_code == 401

    def test_include_other_processes(self, client_with: MakeClient, tmp_path: Path) -> None:
        with client_with(enabled=True, directory=tmp_path) as client:
            answer = client.get("/metrics")
        assert answer.text == ""


class TestMeasurements:
    async def test_show_connections_and_waiting_requests(self, measured: Measured) -> None:
        async with measured(database={"pool_size": 1}) as (app, client):
            database = app.state.resources.database

            async def wait() -> None:
                async with database.read():
                    pass

            async def three_wait() -> bool:  # the poll of a queue may be one more
                return await value(client, "db_client_connection_pending_requests") >= 3

            async with database.read():
                waiting = [asyncio.create_task(wait()) for _ in range(3)]
                await until(client, 1, "db_client_connection_count", state="used")
                await eventually(three_wait, "three wait")
            await asyncio.gather(*waiting)
            await until(client, 0, "db_client_connection_pending_requests")
            await until(client, 1, "db_client_connection_count", state="idle")
            assert await value(client, "db_client_connection_max") == 1

    async def test_show_hashes_running_waiting_and_refused(self, measured: Measured) -> None:
        limits = {"max_concurrent": 1, "max_waiting": 1}
        login = {"username": "ada", "password": "Analytical1Engine"}
        may_end = threading.Event()
        async with measured(passwords=limits) as (app, client):
            hasher = app.state.resources.hasher
            held = [
                asyncio.create_task(hasher._strangers.run(partial(may_end.wait, PATIENCE)))
                for _ in range(2)
            ]
            await until(client, 1, "password_hashes_running")
            await until(client, 1, "password_hashes_waiting")
            assert (await client.post("/api/v1/auth/token", data=login)).status_code == 503
            await until(client, 1, "password_hashes_refused_total")
            may_end.set()
            await asyncio.gather(*held)
            await until(client, 0, "password_hashes_running")

    async def test_count_requests_over_a_limit(self, measured: Measured) -> None:
        async with measured(rate_limits={"general_address": "2/hour"}) as (_, client):
            await until(client, 0, "rate_limit_refusals_total", policy="general-address")
            statuses = [(await client.get("/api/v1/users/me")).status_code for _ in range(3)]
            await until(client, 1, "rate_limit_refusals_total", policy="general-address")
        assert statuses == [401, 401, 429]

    async def test_show_a_blocked_event_loop(self, measured: Measured) -> None:
        async with measured() as (_, client):
            name = "event_loop_lag_seconds_sum"
            before = await value(client, name)
            end = time.monotonic() + 0.3
            while time.monotonic() < end:
                """Nothing else runs."""

            async def is_seen() -> bool:
                return await value(client, name) >= before + 0.2

            await eventually(is_seen, "the lag is measured")

    async def test_show_the_process(self, measured: Measured) -> None:
        async with measured() as (_, client):
            before = await value(client, "process_open_fds")
            with ExitStack() as files:
                for _ in range(100):
                    files.enter_context(Path(os.devnull).open())  # noqa: ASYNC230 - no disk

                async def are_seen() -> bool:
                    return await value(client, "process_open_fds") > before + 50

                await eventually(are_seen, "the files are measured")
            assert await value(client, "process_cpu_seconds_total") > 0
            assert await value(client, "process_resident_memory_bytes") > 0


class TestOwnPort:
    async def test_has_the_metrics_of_this_process(self, measured: Measured) -> None:
        own = {"enabled": True, "port": free_port()}
        async with measured(metrics=own) as (_, client), scraper(own["port"]) as scraped:
            assert (await client.get("/metrics")).status_code == 404
            await until(scraped, 0, "db_client_connection_pending_requests")

    async def test_has_those_of_all_workers_until_they_end(
        self, make_settings: Callable[..., Settings], own_database_url: str, tmp_path: Path
    ) -> None:
        own = {"enabled": True, "port": free_port()}
        settings = make_settings(own_database_url, metrics=own)
        async with server_process(settings, tmp_path) as server, scraper(own["port"]) as scraped:

            async def workers() -> set[str]:
                found = await samples(scraped, "process_open_fds")
                return {sample.labels["pid"] for sample in found}

            async def one_works() -> bool:
                return len(await workers()) == 1

            await eventually(one_works, "the worker has measured itself")
            (killed,) = await workers()
            async with scraper(server.port) as client:
                assert (await client.get("/metrics")).status_code == 404
                assert (await client.get("/api/v1/users/me")).status_code == 401
            await until(scraped, 1, "http_requests_total", status="401")
            os.kill(int(killed), signal.SIGKILL)

            async def another_works() -> bool:
                return await workers() not in (set(), {killed}) and await one_works()

            await eventually(another_works, "another has taken its place")
            assert await value(scraped, "http_requests_total", status="401") == 1


class TestPolls:
    async def test_are_nan_while_a_server_is_unavailable(self) -> None:
        registry = CollectorRegistry()
        number: float | None = None

        async def poll() -> list[Measurement]:
            if number is None:
                raise DatabaseUnavailable
            return [Measurement("queue", "Messages.", number)]

        async with recorded(registry, polls=[poll], seconds=0.001):
            for number in (3.0, None, 4.0):

                async def is_shown(expected: str = str(number or "nan")) -> bool:
                    return str(registry.get_sample_value("queue")) == expected

                await eventually(is_shown)
