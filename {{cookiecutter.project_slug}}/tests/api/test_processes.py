"""Two processes of the service on one database: access ends in both at once (rule SEC01)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2

from app.config import Settings
from app.resources import open_resources
from app.tasks import TASKS
from tests.support.arrange import Account, Arrange
from tests.support.processes import two_clients

ME = "/api/v1/users/me"


async def access_ends(clients: Sequence[httpx2.AsyncClient], user: Account) -> None:
    """End a session in one process, and require that both knew it and neither does any longer."""
    for status in (200, 401):
        for client in clients:
            assert (await client.get(ME, headers=user.headers)).status_code == status
        await clients[0].delete(f"/api/v1/auth/sessions/{user.session_id}", headers=user.headers)


async def test_access_ends_in_every_process(
    make_settings: Callable[..., Settings],
    own_database_url: str,
    password_hash: str,
    tmp_path: Path,
) -> None:
    settings = make_settings(own_database_url)
    async with (
        open_resources(settings, TASKS) as resources,
        two_clients(settings, tmp_path) as clients,
    ):
        await access_ends(clients, await Arrange(lambda: resources, password_hash).account())
