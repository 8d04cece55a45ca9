"""Hooks of this test suite."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest


def pytest_app_settings(
    config: pytest.Config, database_url: str
) -> dict[str, dict[str, Any]] | None:
    """Return groups of settings that an application under test needs, such as a server's address.

    Called whenever settings are made. Those with the same database belong to the same service, and
    share what the processes of a service share.
    """


def pytest_run_servers() -> Mapping[str, Callable[[], AbstractContextManager[Any]]]:
    """Return the servers of a run by name: context managers of dataclasses with a `source`."""
    raise NotImplementedError
