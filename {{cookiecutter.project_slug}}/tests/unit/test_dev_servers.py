"""The servers of development: what commands see of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from app.core.config import Settings
from app.infrastructure.database import migrations
from dev_servers import Server, backing_services, services
from dev_servers.services import Service
from tests.support.databases import TestDatabases

VARIABLE = "APP_DATABASE__URL"


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that every account may enter, which pytest's own are not."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def harmless(given: str | None, directory: Path) -> Iterator[Server]:
    """A service that there is nothing to start for."""
    yield Server("harmless", given or f"harmless://{directory.name}", "a test")


class TestBackingServices:
    @pytest.mark.parametrize("before", [None, "what was there"])
    def test_names_addresses_in_the_environment_only_while_it_is_open(
        self, before: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(services, "SERVICES", (Service(VARIABLE, harmless),))
        if before is not None:
            monkeypatch.setenv(VARIABLE, before)
        with backing_services(Settings(), Path(".dev")) as (server,):
            assert os.environ[VARIABLE] == server.url == "harmless://.dev"
        assert os.environ.get(VARIABLE) == before

    def test_keeps_data_from_one_time_to_the_next(self, directory: Path) -> None:
        with backing_services(Settings(), directory / ".dev") as (database, *_):
            migrations.upgrade(database.url)
            then = migrations.current(database.url)
        with backing_services(Settings(), directory / ".dev") as (database, *_):
            assert migrations.current(database.url) == then != ()

    def test_uses_what_the_settings_name(self, directory: Path, databases: TestDatabases) -> None:
        settings = Settings.model_validate({"database": {"url": databases.create_empty()}})
        with backing_services(settings, directory / ".dev") as (database, *_):
            assert database.url == settings.database.url.get_secret_value()
            assert VARIABLE in database.source
        assert not (directory / ".dev").exists()
