"""The contract of fan-out, within a process and between several."""

from collections.abc import AsyncIterator, Callable

import pytest

from app.config import Settings
from app.core.ids import new_id
from app.infrastructure.realtime.connections import Connections, Envelope
from app.infrastructure.realtime.fanout import FanOut
from app.infrastructure.realtime.messages import PresenceMessage, ResyncMessage
from tests.support.sockets import client_in, heard, words

Opened = tuple[FanOut, Connections]


@pytest.fixture
async def fanout(
    make_settings: Callable[..., Settings], database_url: str
) -> AsyncIterator[Opened]:
    """A fan-out as a process opens it, with its connections."""
    settings = make_settings(database_url, realtime={"presence_limit": 2})
    registry = Connections(settings.realtime)
    async with FanOut.open(settings, registry) as fanout:
        yield fanout, registry


@pytest.fixture
def place() -> str:
    """A channel of this test."""
    return f"test:{new_id()}"


class TestPublish:
    @pytest.mark.parametrize("to_all", [True, False])
    async def test_does_not_come_back(self, fanout: Opened, place: str, to_all: bool) -> None:
        carrier, registry = fanout
        connection = registry.add(client_in(place))
        channel = None if to_all else place

        carrier.publish(Envelope(words("from here").model_dump_json(), channel))
        carrier.publish(Envelope(ResyncMessage().model_dump_json()))
        # A process delivers its own messages itself.
        registry.deliver(Envelope(words("itself").model_dump_json(), place))

        assert (await heard(connection))["text"] == "itself"


class TestPresence:
    async def test_counts_members(self, fanout: Opened, place: str) -> None:
        carrier, registry = fanout
        one, other = registry.add(client_in(place)), registry.add(client_in(place))

        first = await carrier.enter(place, one.client.member)
        both = await carrier.enter(place, other.client.member)
        registry.remove(one)
        left = await carrier.leave(place, one.client.member)
        elsewhere = await carrier.present(f"{place}:other")
        rest = await carrier.present(place)

        assert first.total >= 1
        assert {*both.members} == {one.client.member, other.client.member}
        assert left == rest.total == 1
        assert elsewhere.total == 0
        assert rest.members == (other.client.member,)

    async def test_lists_a_limited_number(self, fanout: Opened, place: str) -> None:
        carrier, registry = fanout
        for _ in range(3):
            await carrier.enter(place, registry.add(client_in(place)).client.member)
        present = await carrier.present(place)
        assert present.total == 3
        assert len(present.members) == 2


class TestDeliver:
    async def test_skips_the_excluded_connection(self, fanout: Opened, place: str) -> None:
        _, registry = fanout
        one, other = registry.add(client_in(place)), registry.add(client_in(place))
        presence = PresenceMessage(type="joined", member=one.client.member)
        registry.deliver(Envelope(presence.model_dump_json(), place, one.client.id))
        assert [len(each._queue) for each in (one, other)] == [0, 1]
