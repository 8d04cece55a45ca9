"""Deferred writes to a server that is unavailable."""

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest
from structlog.testing import capture_logs

from app.infrastructure.outbox import Outbox
from tests.support.waiting import eventually


class Away(Exception):
    """The server does not answer."""


class Server:
    """Hears, or doesn't."""

    def __init__(self) -> None:
        self.is_there = False
        self.heard: list[str] = []
        self.tried = asyncio.Event()

    async def hear(self, word: str) -> None:
        self.tried.set()
        if not self.is_there:
            raise Away
        self.heard.append(word)


@pytest.fixture
def server() -> Server:
    return Server()


def opened(retry_seconds: float) -> AbstractAsyncContextManager[Outbox]:
    return Outbox.open("server", Away, retry_seconds=retry_seconds)


async def send(outbox: Outbox, server: Server, word: str, seconds: float = 60) -> None:
    await outbox.send([word], lambda: server.hear(word), seconds=seconds)


async def empty(outbox: Outbox) -> None:
    async def is_empty() -> bool:
        return not len(outbox)

    await eventually(is_empty, "the outbox is empty")


class TestSend:
    async def test_retries_in_order_until_the_server_is_back(self, server: Server) -> None:
        async with opened(0.001) as outbox:
            for word in "aba":
                await send(outbox, server, word)
            assert "a" in outbox
            assert "c" not in outbox
            server.is_there = True
            await empty(outbox)
            assert "a" not in outbox
        assert server.heard == ["a", "b", "a"]

    async def test_retries_for_a_caller_that_was_cancelled(self, server: Server) -> None:
        never = asyncio.Event()

        async def hang() -> None:
            if not server.is_there:
                server.tried.set()
                await never.wait()
            server.heard.append("a")

        async with opened(0.001) as outbox:
            sending = asyncio.create_task(outbox.send(["a"], hang, seconds=60))
            await server.tried.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            server.is_there = True
            await empty(outbox)
        assert server.heard == ["a"]

    async def test_drops_actions_past_their_deadline(self, server: Server) -> None:
        async with opened(0.001) as outbox:
            await send(outbox, server, "a", seconds=0.002)
            await empty(outbox)
        assert server.heard == []


class TestClose:
    async def test_tries_a_last_time(self, server: Server) -> None:
        async with opened(60) as outbox:
            await send(outbox, server, "a")
            server.is_there = True
        assert server.heard == ["a"]

    async def test_logs_lost_actions(self, server: Server) -> None:
        with capture_logs() as logs:
            async with opened(60) as outbox:
                await send(outbox, server, "a")
        assert [(log["event"], log["server"], log.get("lost")) for log in logs] == [
            ("delivery deferred", "server", None),
            ("deliveries lost", "server", 1),
        ]
