"""Two server processes and many clients, over real sockets, with a Redis that comes and goes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from app.config import Settings
from app.resources import open_resources
from app.tasks import TASKS
from tests.support.arrange import Arrange
from tests.support.databases import TestDatabases
from tests.support.processes import ServerProcess, server_process
from tests.support.redis_plugin import OwnRedis
from tests.support.sockets import TICKETS, all_opened, opened, outcome_of
from tests.support.waiting import PATIENCE

SENDERS, CLIENTS, MESSAGES = 4, 10, 25


def http_client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(), timeout=PATIENCE)


@dataclass(frozen=True)
class Pair:
    """Two processes on one database and one Redis."""

    one: ServerProcess
    other: ServerProcess
    redis: OwnRedis
    arrange: Arrange


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path_factory.mktemp("r"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def database(databases: TestDatabases) -> Iterator[str]:
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture(scope="module")
async def pair(
    make_settings: Callable[..., Settings],
    database: str,
    server: OwnRedis,
    password_hash: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Pair]:
    settings = make_settings(
        database,
        redis={"url": server.url, "breaker_seconds": 0.2},
        rate_limits={"enabled": False},
        realtime={"messages_per_second": 1000.0, "burst": 1000},
        logging={"format": "console"},
    )
    directories: list[Path] = [tmp_path_factory.mktemp(name) for name in ("one", "other")]
    async with AsyncExitStack() as stack:
        resources = await stack.enter_async_context(open_resources(settings, TASKS))
        async with asyncio.TaskGroup() as starts:
            one, other = [
                starts.create_task(stack.enter_async_context(server_process(settings, each)))
                for each in directories
            ]
        arrange = Arrange(lambda: resources, password_hash)
        yield Pair(one.result(), other.result(), server, arrange)


class TestEverybody:
    async def test_hears_everything_once_and_in_the_order_of_each_sender(self, pair: Pair) -> None:
        people = [await pair.arrange.someone() for _ in range(CLIENTS)]
        async with AsyncExitStack() as stack:
            here = await all_opened(stack, pair.one.port, people)
            there = await all_opened(stack, pair.other.port, people)
            senders = [*here[: SENDERS // 2], *there[: SENDERS // 2]]

            async def speak(number: int) -> None:
                for count in range(MESSAGES):
                    await senders[number].send(type="say", text=f"{number} {count}")

            await asyncio.gather(*map(speak, range(SENDERS)))
            everything = SENDERS * MESSAGES
            heard = await asyncio.gather(*(each.said(everything) for each in (*here, *there)))

        for texts in heard:
            for number in range(SENDERS):
                said = [text for text in texts if text.startswith(f"{number} ")]
                assert said == [f"{number} {count}" for count in range(MESSAGES)]


class TestTicket:
    async def test_of_one_process_is_good_at_the_other_once(self, pair: Pair) -> None:
        ada = await pair.arrange.someone()
        async with http_client() as client:
            issued = await client.post(f"{pair.one.address}{TICKETS}", headers=ada.headers)
        ticket = issued.json()["ticket"]

        tried = await asyncio.gather(
            *(outcome_of(each.port, ticket) for each in (pair.one, pair.other) for _ in range(5))
        )

        assert sorted(tried) == [*["4001"] * 9, "welcome"]


class TestItem:
    async def test_that_changes_at_one_process_is_heard_of_at_the_other(self, pair: Pair) -> None:
        ada = await pair.arrange.someone()
        async with (
            opened(pair.other.port, ada, "me") as client,
            http_client() as http,
        ):
            created = await http.post(
                f"{pair.one.address}/api/v1/items", headers=ada.headers, json={"title": "Note A"}
            )
            heard = await client.hear()
        assert heard == {"type": "item_created", "item_id": created.json()["id"], "version": 1}


class TestRedisRestart:
    async def test_is_told_and_then_all_is_heard_again(self, pair: Pair) -> None:
        ada, bob = await pair.arrange.someone(), await pair.arrange.someone()
        async with opened(pair.one.port, ada) as here, opened(pair.other.port, bob) as there:
            pair.redis.kill()
            await here.send(type="say", text="during")
            assert await here.said(1) == ["during"]
            async with opened(pair.one.port, ada) as late:
                assert late.id

            pair.redis.start()
            await asyncio.gather(here.hear("resync"), there.hear("resync"))
            await there.send(type="say", text="after")

            texts = await here.said(1)
            while texts[-1] != "after":
                texts += await here.said(1)
        assert texts.count("after") == 1
