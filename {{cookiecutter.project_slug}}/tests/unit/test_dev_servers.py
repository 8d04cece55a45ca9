"""The servers of development: what commands see of them."""

import importlib
import os
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import dev_servers
from app.config import Settings
from app.infrastructure.database import migrations
from dev_servers import Server, backing_services, services
from dev_servers import database as database_of_development
from dev_servers.service import Service
from tests.support.databases import TestDatabases

VARIABLE = "APP_DATABASE__URL"
FURTHER = "APP_HARMLESS__FURTHER"


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
    url = given or f"harmless://{directory.name}"
    yield Server("harmless", url, "a test", {FURTHER: "something else"})


class TestServices:
    def test_are_all_that_can_be_started(self) -> None:
        modules = [
            importlib.import_module(f"dev_servers.{module.name}")
            for module in pkgutil.iter_modules(dev_servers.__path__)
        ]
        starters = [
            module.development_server for module in modules if hasattr(module, "development_server")
        ]
        assert [service.open for service in services.services()] == starters


class TestBackingServices:
    @pytest.mark.parametrize("before", [None, "what was there"])
    def test_names_addresses_in_the_environment_only_while_it_is_open(
        self, before: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(services, "services", lambda: (Service(VARIABLE, harmless),))
        if before is not None:
            monkeypatch.setenv(VARIABLE, before)
            monkeypatch.setenv(FURTHER, before)
        with backing_services(Settings(), Path(".dev")) as (server,):
            assert os.environ[VARIABLE] == server.url == "harmless://.dev"
            assert os.environ[FURTHER] == "something else"
        assert os.environ.get(VARIABLE) == os.environ.get(FURTHER) == before

    def test_keeps_data_from_one_time_to_the_next(self, directory: Path) -> None:
        with backing_services(Settings(), directory / ".dev") as (database, *_):
            migrations.upgrade(database.url)
            then = migrations.current(database.url)
        with backing_services(Settings(), directory / ".dev") as (database, *_):
            assert migrations.current(database.url) == then != ()

    def test_uses_what_the_settings_name(
        self, directory: Path, databases: TestDatabases, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(services, "services", lambda: (database_of_development.SERVICE,))
        settings = Settings.model_validate({"database": {"url": databases.create_empty()}})
        with backing_services(settings, directory / ".dev") as (database, *_):
            assert database.url == settings.database.url.get_secret_value()
            assert VARIABLE in database.source
        assert not (directory / ".dev").exists()
