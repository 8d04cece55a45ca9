"""Fixtures of all tests.

`client` (plain functions) and `async_client` (concurrency, streaming) talk to the whole
application on a real database, and roll back their changes. A test that commits from concurrent
requests, or breaks the database, uses `own_client`.
"""

import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import hypothesis
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck
from sqlalchemy import select
from starlette.testclient import TestClient

from app import models
from app.config import Settings
from app.core.config import LoggingSettings
from app.core.logging import configure_logging
from app.core.security.keys import SigningKeys
from app.main import create_app
from app.resources import Resources, open_resources
from app.tasks import TASKS
from tests.support import hooks
from tests.support.answers import Recorded
from tests.support.arrange import PASSWORD, Account, Arrange, ArrangeSync, Jobs, jobs_in
from tests.support.resources import isolated, replaced
from tests.support.things import with_things
from tests.support.waiting import PATIENCE

pytest_plugins = [
    "tests.support.servers",
    *(
        f"tests.support.{file.stem}"
        for file in sorted(Path(__file__).with_name("support").glob("*_plugin.py"))
    ),
]

BASE_URL = "http://testserver"

# No deadline: a shared machine may pause during any example. Each run uses other examples; `make
# fuzz` uses more.
hypothesis.settings.register_profile(
    "project", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis.settings.register_profile(
    "thorough", parent=hypothesis.settings.get_profile("project"), max_examples=500
)
hypothesis.settings.load_profile("project")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run explicitly named files in this process: most take less time than starting workers."""
    paths = [Path(argument.partition("::")[0]) for argument in config.args]
    return 0 if all(path.is_file() for path in paths) else None


def pytest_collection_finish() -> None:
    """Exempt objects created during startup from garbage collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _log() -> None:
    """Log as in development; structlog's default takes minutes to render a long traceback."""
    configure_logging(LoggingSettings(), production=False)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # the access log has the same


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hooks)


@pytest.fixture(scope="session")
def make_settings(request: pytest.FixtureRequest) -> Callable[..., Settings]:
    """Return settings for tests: cheap hashes, one signing key for all, the servers of the run.

    Time limits are long, because a busy machine is slow; tests of time limits set their own.
    """
    keys = SigningKeys.generate().to_json()
    hook = request.config.hook.pytest_app_settings

    def make(url: str, **groups: Any) -> Settings:
        defaults: dict[str, Any] = {
            "environment": "test",
            "database": {
                "url": url,
                "pool_size": 5,
                "pool_timeout": PATIENCE,
                "lock_timeout": PATIENCE,
            },
            "auth": {"signing_keys": keys},
            "passwords": {"memory_kib": 8, "time_cost": 1, "max_concurrent": 2},
            "rate_limits": {"concurrent_requests": 100, "concurrent_transfers": 100},
            "health": {"timeout_seconds": PATIENCE, "cache_seconds": 0},
        }
        for given in hook(config=request.config, database_url=url):
            defaults |= given
        for name, group in groups.items():
            defaults[name] = {**defaults.get(name, {}), **group}
        return Settings(**defaults)

    return make


@pytest.fixture(scope="session")
def server_variables(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the environment variables of the servers of the run, except the database."""
    hook = request.config.hook.pytest_app_settings
    return {
        f"APP_{group}__{name}".upper(): str(value)
        for groups in hook(config=request.config, database_url="")
        for group, values in groups.items()
        for name, value in values.items()
    }


@pytest.fixture(scope="session")
def settings(make_settings: Callable[..., Settings], database_url: str) -> Settings:
    return make_settings(database_url)


@pytest.fixture(scope="session")
def running(
    settings: Settings,
    recorded: Recorded,
) -> Iterator[TestClient]:
    """The application, started once for all synchronous tests of this process."""
    # On the loop of production.
    options = {"use_uvloop": True}
    app = recorded(with_things(create_app(settings)))
    with TestClient(app, base_url=BASE_URL, backend_options=options) as client:
        yield client


@pytest.fixture
def client(running: TestClient) -> Iterator[TestClient]:
    """A client of the application, whose changes to the database are rolled back."""
    app, portal = _app_of(running), running.portal
    assert portal is not None
    shared: Resources = app.state.resources
    with portal.wrap_async_context_manager(isolated(shared)) as own:
        app.state.resources = own
        yield running
        running.cookies.clear()
    app.state.resources = shared
    app.dependency_overrides.clear()


@pytest.fixture(scope="session")
async def running_async(settings: Settings, recorded: Recorded) -> AsyncIterator[FastAPI]:
    """The application, started once for all asynchronous tests of this process."""
    app = recorded(with_things(create_app(settings)))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def async_client(running_async: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """An asynchronous client, whose changes to the database are rolled back."""
    app = running_async
    shared: Resources = app.state.resources
    async with isolated(shared) as own:
        app.state.resources = own
        async with async_client_of(app) as client:
            yield client
    app.state.resources = shared
    app.dependency_overrides.clear()


@pytest.fixture(scope="session")
def app_without_resources(settings: Settings, recorded: Recorded) -> FastAPI:
    """An application that is created once, and opens nothing."""
    return recorded(with_things(create_app(settings)))


@pytest.fixture
async def own_app(
    make_settings: Callable[..., Settings], own_database_url: str, app_without_resources: FastAPI
) -> AsyncIterator[FastAPI]:
    """An application with a database of its own, in which commits are commits."""
    app = app_without_resources
    async with open_resources(make_settings(own_database_url), TASKS) as resources:
        app.state.resources = resources
        yield app
    app.dependency_overrides.clear()


@pytest.fixture
async def own_client(own_app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """An asynchronous client of the application with a database of its own."""
    async with async_client_of(own_app) as client:
        yield client


@pytest.fixture
def app(client: TestClient) -> FastAPI:
    """The application behind `client`."""
    return _app_of(client)


@pytest.fixture
def use(app: FastAPI) -> Callable[..., None]:
    """Replace resources of the application behind `client`, for this test."""

    def replace_resources(**replacements: Any) -> None:
        app.state.resources = replaced(app.state.resources, **replacements)

    return replace_resources


@pytest.fixture
def jobs(arrange: ArrangeSync) -> Jobs:
    """Return the jobs that requests of `client` have enqueued, in order."""
    in_order = select(models.OutboxMessage).order_by(models.OutboxMessage.id)
    return lambda: jobs_in(arrange.rows(in_order))


@pytest.fixture(scope="session")
def password_hash(running: TestClient) -> str:
    """The hash of `PASSWORD`, made once."""
    assert running.portal is not None
    resources: Resources = _app_of(running).state.resources
    return running.portal.call(resources.hasher.hash, PASSWORD)


@pytest.fixture
def arrange(client: TestClient, app: FastAPI, password_hash: str) -> ArrangeSync:
    """Arranges for tests that use `client`."""
    assert client.portal is not None
    return ArrangeSync(Arrange(lambda: app.state.resources, password_hash), client.portal)


@pytest.fixture
def ada(arrange: ArrangeSync) -> Account:
    """A logged-in user of `client`."""
    return arrange.account()


@pytest.fixture
def arrange_async(
    async_client: httpx2.AsyncClient, running_async: FastAPI, password_hash: str
) -> Arrange:
    """Arranges for tests that use `async_client`."""
    return Arrange(lambda: running_async.state.resources, password_hash)


@pytest.fixture
def arrange_own(own_app: FastAPI, password_hash: str) -> Arrange:
    """Arranges for tests that use `own_client`."""
    return Arrange(lambda: own_app.state.resources, password_hash)


def async_client_of(app: FastAPI) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app)
    return httpx2.AsyncClient(transport=transport, base_url=BASE_URL)


def _app_of(client: TestClient) -> FastAPI:
    assert isinstance(client.app, FastAPI)
    return client.app
