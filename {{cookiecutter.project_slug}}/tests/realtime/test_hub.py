"""Where connections come together: what is heard by whom, and who has to go."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from app.config import Settings
from app.core.ids import new_id
from app.domain.realtime import ADMIN, user_channel
from app.infrastructure.realtime import Client, Close, Hub
from app.infrastructure.realtime.connections import TooManyConnections
from app.infrastructure.realtime.hub import Recheck
from app.infrastructure.realtime.sockets import Allowance
from tests.support.sockets import client_in, heard, joined, nobody_leaves, words

OpenHub = Callable[..., AbstractAsyncContextManager[Hub]]
GONE = Close(4001, "gone")


@pytest.fixture
def open_hub(make_settings: Callable[..., Settings], database_url: str) -> OpenHub:
    """Opens hubs, each as in a process of its own."""
    # A hub asks no database; another one means another service, which shares nothing.
    elsewhere = f"{database_url}{new_id().hex}"

    @asynccontextmanager
    async def opened(recheck: Recheck = nobody_leaves, **limits: Any) -> AsyncIterator[Hub]:
        settings = make_settings(elsewhere, realtime=limits, server={"workers": 1})
        async with Hub.open(settings, recheck) as hub:
            yield hub

    return opened


class TestPublish:
    async def test_is_heard_once_by_each_in_the_channel_and_in_order(
        self, open_hub: OpenHub
    ) -> None:
        async with open_hub() as hub, joined(hub) as one, joined(hub) as other:
            assert (await heard(one))["type"] == "joined"
            for number in range(50):
                hub.publish(words(str(number)), one.client.channel)
            for connection in (one, other):
                texts = [(await heard(connection))["text"] for _ in range(50)]
                assert texts == [str(number) for number in range(50)]

    async def test_is_not_heard_in_other_channels(self, open_hub: OpenHub) -> None:
        async with open_hub() as hub, joined(hub, client_in(ADMIN)) as elsewhere:
            hub.publish(words("for one"), user_channel(new_id()))
            hub.publish(words("for all"))
            assert (await heard(elsewhere))["text"] == "for all"


class TestSlowReader:
    async def test_is_cut_off_and_slows_nobody(self, open_hub: OpenHub) -> None:
        async with open_hub(queue_size=8) as hub, joined(hub) as quick, joined(hub) as slow:
            await heard(quick, "joined")
            for number in range(20):
                hub.publish(words(str(number)), quick.client.channel)
                assert (await heard(quick))["text"] == str(number)

            assert slow.closed.result().code == 4008

    async def test_gets_nothing_more(self, open_hub: OpenHub) -> None:
        async with open_hub(queue_size=8) as hub, joined(hub) as slow:
            for number in range(20):
                hub.publish(words(str(number)), slow.client.channel)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await slow.next()
            assert slow.closed.done()


class TestPresence:
    async def test_is_told_up_to_a_number_of_members(self, open_hub: OpenHub) -> None:
        async with open_hub(presence_limit=2) as hub, AsyncExitStack() as stack:
            first = await stack.enter_async_context(joined(hub))
            async with joined(hub) as second:
                third = await hub.join(client_in())
                welcome = await heard(third)
                await hub.leave(third)
                hub.publish(words("after"), first.client.channel)
                assert (await heard(second))["text"] == "after"

            kinds = [(await heard(first))["type"] for _ in range(3)]

        assert kinds == ["joined", "said", "left"]
        assert welcome["total"] == 3
        assert len(welcome["members"]) == 2

    async def test_counts_connections(self, open_hub: OpenHub) -> None:
        async with open_hub() as hub:
            async with joined(hub) as one, joined(hub, client_in(ADMIN)):
                assert hub.connections == 2
                assert (await hub.present(one.client.channel)).total == 1
            assert hub.connections == 0
            assert (await hub.present(one.client.channel)).total == 0


class TestLimits:
    async def test_are_of_each_user(self, open_hub: OpenHub) -> None:
        user_id = new_id()
        async with open_hub(connections_per_user=1) as hub:
            async with joined(hub, client_in(subject=user_id)), joined(hub):
                with pytest.raises(TooManyConnections):
                    await hub.join(client_in(subject=user_id))
            async with joined(hub, client_in(subject=user_id)):
                assert hub.connections == 1


class TestRecheck:
    async def test_ends_who_may_not_stay(self, open_hub: OpenHub) -> None:
        gone = client_in()

        async def recheck(clients: Collection[Client]) -> dict[UUID, Close]:
            return {each.id: GONE for each in clients if each == gone}

        async with open_hub(recheck, recheck_seconds=0.01) as hub, joined(hub) as other:
            connection = await hub.join(gone)
            async with asyncio.timeout(60):
                assert await connection.closed == GONE
            assert not other.closed.done()
            await hub.leave(connection)

    async def test_goes_on_after_it_has_failed(self, open_hub: OpenHub) -> None:
        asked = []

        async def recheck(clients: Collection[Client]) -> dict[UUID, Close]:
            asked.append(len(clients))
            if len(asked) == 1:
                raise OSError("no database")
            return {each.id: GONE for each in clients}

        with capture_logs() as lines:
            async with open_hub(recheck, recheck_seconds=0.01) as hub:
                connection = await hub.join(client_in())
                async with asyncio.timeout(60):
                    await connection.closed
                await hub.leave(connection)

        assert asked == [1, 1]
        assert "recheck of connections failed" in [line["event"] for line in lines]


class TestClose:
    async def test_ends_all_connections(self, open_hub: OpenHub) -> None:
        async with open_hub() as hub:
            connection = await hub.join(client_in())
        assert connection.closed.result().code == 1012


class TestAllowance:
    def test_lets_a_burst_through_and_then_a_rate(self) -> None:
        allowance = Allowance(rate=2.0, burst=3, now=100.0)
        assert [allowance.take(100.0) for _ in range(4)] == [True, True, True, False]
        assert [allowance.take(100.5), allowance.take(100.5)] == [True, False]

    def test_never_saves_up_more_than_a_burst(self) -> None:
        allowance = Allowance(rate=2.0, burst=3, now=0.0)
        assert [allowance.take(1e6) for _ in range(4)] == [True, True, True, False]
