"""Two server processes and many clients, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from app.config import Settings
from app.resources import open_resources
from app.tasks import TASKS
from tests.support.arrange import Arrange
from tests.support.processes import ServerProcess, two_servers
from tests.support.sockets import TICKETS, all_opened, outcome_of
from tests.support.waiting import PATIENCE

SENDERS, CLIENTS, MESSAGES = 4, 10, 25


@dataclass(frozen=True)
class Pair:
    """Two processes on one database and one Redis."""

    one: ServerProcess
    other: ServerProcess
    arrange: Arrange


@pytest.fixture
async def pair(
    make_settings: Callable[..., Settings],
    own_database_url: str,
    password_hash: str,
    tmp_path: Path,
) -> AsyncIterator[Pair]:
    settings = make_settings(
        own_database_url,
        rate_limits={"enabled": False},
        realtime={"messages_per_second": 1000.0, "burst": 1000},
        logging={"format": "console"},
    )
    async with (
        open_resources(settings, TASKS) as resources,
        two_servers(settings, tmp_path) as servers,
    ):
        yield Pair(*servers, Arrange(lambda: resources, password_hash))


class TestMessages:
    async def test_reach_everybody_once_in_the_order_of_each_sender(self, pair: Pair) -> None:
        people = [await pair.arrange.account() for _ in range(CLIENTS)]
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
    async def test_works_once_in_all_processes(self, pair: Pair) -> None:
        ada = await pair.arrange.account()
        transport = httpx2.AsyncHTTPTransport()
        async with httpx2.AsyncClient(transport=transport, timeout=PATIENCE) as client:
            issued = await client.post(f"{pair.one.address}{TICKETS}", headers=ada.headers)
        ticket = issued.json()["ticket"]

        tried = await asyncio.gather(
            *(outcome_of(each.port, ticket) for each in (pair.one, pair.other) for _ in range(5))
        )

        assert sorted(tried) == [*["4001"] * 9, "welcome"]
