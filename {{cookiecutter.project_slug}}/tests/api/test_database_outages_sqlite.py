"""SQLite fails in its own ways: clients get a 503 each time, and the service recovers."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit
from typing import Final

import httpx2
import pytest
from sqlalchemy.engine import make_url

from app.config import Settings
from app.main import create_app
from tests.conftest import async_client_of
from tests.support.arrange import Account, Arrange, bearer
from tests.support.faults import assert_unavailable

ME: Final = "/api/v1/users/me"


class TestLockedFile:
    async def test_is_answered_with_503_until_the_other_writer_is_done(
        self,
        make_settings: Callable[..., Settings],
        own_database_url: str,
        password_hash: str,
    ) -> None:
        settings = make_settings(own_database_url, database={"lock_timeout": 0.05})
        async with running(settings, password_hash) as (client, ada):
            with writing(own_database_url):
                refused = await change(client, ada)
            changed = await change(client, ada)

        assert_unavailable(refused)
        assert changed.status_code == 200

    async def test_is_still_read(
        self,
        make_settings: Callable[..., Settings],
        own_database_url: str,
        password_hash: str,
    ) -> None:
        settings = make_settings(own_database_url, database={"lock_timeout": 0.05})
        async with running(settings, password_hash) as (client, ada):
            key = await create_api_key(client, ada)
            with writing(own_database_url):
                response = await client.get(ME, headers=ada.headers)
                with_key = await client.get(ME, headers=bearer(key))

        assert (response.status_code, with_key.status_code) == (200, 200)


class TestFullDisk:
    async def test_degrades_readiness_as_long_as_writes_fail(
        self, make_settings: Callable[..., Settings], own_database_url: str, password_hash: str
    ) -> None:
        async with running(make_settings(own_database_url), password_hash) as (client, ada):
            key = await create_api_key(client, ada)
            with full_disk():
                refused = await change(client, ada)
                read = await client.get(ME, headers=ada.headers)
                read_with_key = await client.get(ME, headers=bearer(key))
                degraded = await client.get("/ready")
            changed = await change(client, ada)
            ready = await client.get("/ready")

        assert_unavailable(refused)
        assert (read.status_code, degraded.status_code) == (200, 200)
        assert read_with_key.status_code == 200
        assert statuses(degraded) == {"database": "up", "database_writes": "degraded"}
        assert changed.status_code == 200
        assert statuses(ready) == {"database": "up", "database_writes": "up"}


class TestFileThatCannotBeOpened:
    async def test_is_answered_with_503_until_it_can(
        self, make_settings: Callable[..., Settings], own_database_url: str, tmp_path: Path
    ) -> None:
        path = directory_in(tmp_path)
        app = create_app(make_settings(f"sqlite+aiosqlite:///{path}"))
        async with app.router.lifespan_context(app), async_client_of(app) as client:
            refused = await client.post("/api/v1/auth/refresh", json={"refresh_token": "rt_none"})
            not_ready = await client.get("/ready")
            put_in_its_place(path, path_of(own_database_url))
            answered = await client.post("/api/v1/auth/refresh", json={"refresh_token": "rt_none"})
            ready = await client.get("/ready")

        assert_unavailable(refused)
        assert not_ready.status_code == 503
        assert str(tmp_path) not in not_ready.text
        assert answered.status_code == 401
        assert ready.status_code == 200


class TestFileThatIsGone:
    @pytest.mark.parametrize("instead", [None, b"This is no database. " * 500])
    async def test_is_answered_with_503_until_it_is_back(
        self,
        make_settings: Callable[..., Settings],
        own_database_url: str,
        password_hash: str,
        instead: bytes | None,
    ) -> None:
        path = Path(path_of(own_database_url))
        async with running(make_settings(own_database_url), password_hash) as (client, ada):
            with moved_away(path, instead) as content:
                refused = await change(client, ada)
                not_ready = await client.get("/ready")
                left = content()
            changed = await change(client, ada)
            ready = await client.get("/ready")

        assert_unavailable(refused)
        assert not_ready.status_code == 503
        assert left == instead
        assert changed.status_code == 200
        assert ready.status_code == 200


async def create_api_key(client: httpx2.AsyncClient, owner: Account) -> str:
    wanted = {"name": "key", "scopes": ["profile:read"]}
    response = await client.post(f"{ME}/api-keys", json=wanted, headers=owner.headers)
    key: str = response.json()["key"]
    return key


def statuses(ready: httpx2.Response) -> dict[str, str]:
    """Return the state of the database in `/ready`."""
    found = {each["name"]: each["status"] for each in ready.json()["checks"]}
    return {name: status for name, status in found.items() if name.startswith("database")}


def path_of(url: str) -> str:
    path = make_url(url).database
    assert path is not None
    return path


def directory_in(parent: Path) -> Path:
    """Replace a path by a directory."""
    directory = parent / "app.db"
    directory.mkdir()
    return directory


def put_in_its_place(directory: Path, file: str) -> None:
    directory.rmdir()
    Path(file).rename(directory)


@contextmanager
def moved_away(path: Path, instead: bytes | None) -> Iterator[Callable[[], bytes | None]]:
    """Have nothing or something else in the place of a file; gives what tells what is there."""
    with closing(sqlite3.connect(path)) as connection:
        # Pages in the log would be written to the file that takes the place.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    aside = path.with_suffix(".aside")
    path.rename(aside)
    if instead is not None:
        path.write_bytes(instead)
    yield lambda: path.read_bytes() if path.exists() else None
    aside.rename(path)


@contextmanager
def full_disk() -> Iterator[None]:
    """Make every write of this process to a file fail."""
    soft, hard = getrlimit(RLIMIT_FSIZE)
    setrlimit(RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        setrlimit(RLIMIT_FSIZE, (soft, hard))


@contextmanager
def writing(url: str) -> Iterator[None]:
    """Hold the write lock."""
    with closing(sqlite3.connect(path_of(url), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@asynccontextmanager
async def running(
    settings: Settings, password_hash: str
) -> AsyncIterator[tuple[httpx2.AsyncClient, Account]]:
    """An application with a logged-in user."""
    app = create_app(settings)
    async with app.router.lifespan_context(app), async_client_of(app) as client:
        yield client, await Arrange(lambda: app.state.resources, password_hash).account()


async def change(client: httpx2.AsyncClient, owner: Account) -> httpx2.Response:
    return await client.patch(ME, headers=owner.headers, json={"full_name": "New"})
