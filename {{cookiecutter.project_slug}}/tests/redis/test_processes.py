"""Two processes of the service share limits and end sessions, whatever the state of Redis."""

from collections.abc import Callable
from pathlib import Path

from app.config import Settings
from app.resources import open_resources
from app.tasks import TASKS
from tests.api.test_processes import ME, access_ends
from tests.redis.test_outages import QUICK
from tests.support.arrange import Arrange
from tests.support.processes import two_clients
from tests.support.redis_plugin import OwnRedis

LIMIT = 12


class TestTwoProcesses:
    async def test_share_rate_limits(
        self,
        make_settings: Callable[..., Settings],
        own_database_url: str,
        password_hash: str,
        tmp_path: Path,
    ) -> None:
        settings = make_settings(own_database_url, rate_limits={"general_account": f"{LIMIT}/day"})
        async with (
            open_resources(settings, TASKS) as resources,
            two_clients(settings, tmp_path) as clients,
        ):
            user = await Arrange(lambda: resources, password_hash).account()
            answers = [await clients[n % 2].get(ME, headers=user.headers) for n in range(LIMIT + 2)]
        assert [each.status_code for each in answers] == [200] * LIMIT + [429] * 2

    async def test_end_access_while_redis_hangs_or_is_gone(
        self,
        make_settings: Callable[..., Settings],
        own_database_url: str,
        password_hash: str,
        own_redis: Callable[[], OwnRedis],
        tmp_path: Path,
    ) -> None:
        redis = own_redis()
        settings = make_settings(own_database_url, redis={"url": redis.url, **QUICK})
        async with (
            open_resources(settings, TASKS) as resources,
            two_clients(settings, tmp_path) as clients,
        ):
            arrange = Arrange(lambda: resources, password_hash)
            for gone, back in (
                (OwnRedis.freeze, OwnRedis.thaw),
                (OwnRedis.kill, OwnRedis.start),
            ):
                user = await arrange.account()
                gone(redis)
                try:
                    await access_ends(clients, user)
                finally:
                    back(redis)
