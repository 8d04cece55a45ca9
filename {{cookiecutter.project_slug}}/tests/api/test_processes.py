"""Two processes of the service on one database: access ends in both at once (rule SEC01)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

import httpx2
import pytest

from app.config import Settings
from app.resources import open_resources
from app.tasks import TASKS
from tests.support.arrange import PASSWORD, Arrange, Someone, bearer
from tests.support.databases import TestDatabases
from tests.support.processes import two_clients

API = "/api/v1"
ME = "/api/v1/users/me"

Ending = Callable[[httpx2.AsyncClient, Someone, Someone], Awaitable[httpx2.Response]]


async def change_password(
    client: httpx2.AsyncClient, user: Someone, admin: Someone
) -> httpx2.Response:
    """Change it from another session."""
    form = {"username": user.username, "password": PASSWORD}
    token = (await client.post(f"{API}/auth/token", data=form)).json()["access_token"]
    body = {"current_password": PASSWORD, "new_password": "Difference2Engine"}
    return await client.put(f"{ME}/password", json=body, headers=bearer(token))


ENDINGS: Final[dict[str, Ending]] = {
    "logout": lambda client, user, _: client.post(
        f"{API}/auth/logout", json={"refresh_token": user.refresh_token}
    ),
    "end of the session": lambda client, user, _: client.delete(
        f"{API}/auth/sessions/{user.session_id}", headers=user.headers
    ),
    "change of the password": change_password,
    "deactivation": lambda client, user, admin: client.patch(
        f"{API}/users/{user.id}", json={"is_active": False}, headers=admin.headers
    ),
    "deletion": lambda client, user, _: client.delete(ME, headers=user.headers),
}


async def statuses(clients: tuple[httpx2.AsyncClient, ...], user: Someone) -> list[int]:
    return [(await client.get(ME, headers=user.headers)).status_code for client in clients]


@pytest.fixture(scope="module")
def shared(make_settings: Callable[..., Settings], databases: TestDatabases) -> Iterator[Settings]:
    """The settings of a service with a database of its own."""
    url = databases.create()
    yield make_settings(url)
    databases.drop(url)


@pytest.fixture(scope="module")
async def clients(
    shared: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[httpx2.AsyncClient, ...]]:
    async with two_clients(shared, tmp_path_factory.mktemp("processes")) as clients:
        yield clients


@pytest.fixture(scope="module")
async def arrange_shared(shared: Settings, password_hash: str) -> AsyncIterator[Arrange]:
    async with open_resources(shared, TASKS) as resources:
        yield Arrange(lambda: resources, password_hash)


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
async def test_access_ends_in_every_process(
    clients: tuple[httpx2.AsyncClient, ...], arrange_shared: Arrange, ending: Ending
) -> None:
    user, admin = await arrange_shared.someone(), await arrange_shared.someone(role="admin")
    assert await statuses(clients, user) == [200, 200]
    assert (await ending(clients[0], user, admin)).is_success
    assert await statuses(clients[::-1], user) == [401, 401]
