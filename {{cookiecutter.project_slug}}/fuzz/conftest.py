"""The application, database and users of the tests, behind a real server."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.support.serving import served

pytest_plugins = ["tests.conftest"]


@pytest.fixture
def address(client: TestClient, app: FastAPI) -> Iterator[str]:
    """Address of the application behind `client`."""
    assert client.portal is not None
    with client.portal.wrap_async_context_manager(served(app)) as server:
        yield str(server.base_url)
