"""The contract of what carries messages between processes, whether or not there are others."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from app.config import Settings
from app.core.ids import new_id
from app.domain.realtime import Channel, Parcel, Presence, Resync
from app.infrastructure.realtime.fanout import FanOut
from app.infrastructure.realtime.registry import Registry
from tests.support.sockets import heard, visitor, words

Opened = tuple[FanOut, Registry]


@pytest.fixture
def opened(
    make_settings: Callable[..., Settings], database_url: str
) -> Callable[[], AbstractAsyncContextManager[Opened]]:
    """Opens one, as a process does, with its connections."""
    settings = make_settings(database_url, realtime={"presence_limit": 2})

    @asynccontextmanager
    async def open_one() -> AsyncIterator[Opened]:
        registry = Registry(settings.realtime)
        async with FanOut.open(settings, registry) as fanout:
            yield fanout, registry

    return open_one


@pytest.fixture
async def fanout(
    opened: Callable[[], AbstractAsyncContextManager[Opened]],
) -> AsyncIterator[Opened]:
    async with opened() as one:
        yield one


@pytest.fixture
def place() -> Channel:
    """A channel of one test alone."""
    return Channel(f"test:{new_id()}")


class TestPublish:
    @pytest.mark.parametrize("to_all", [True, False])
    async def test_does_not_come_back(self, fanout: Opened, place: Channel, to_all: bool) -> None:
        carrier, registry = fanout
        connection = registry.add(visitor(place))
        channel = None if to_all else place

        carrier.publish(Parcel(words("from here"), channel))
        carrier.publish(Parcel(Resync()))
        # What a process says, it delivers itself.
        registry.deliver(Parcel(words("itself"), place))

        assert (await heard(connection))["text"] == "itself"


class TestPresence:
    async def test_knows_who_has_come_and_gone(self, fanout: Opened, place: Channel) -> None:
        carrier, registry = fanout
        one, other = registry.add(visitor(place)), registry.add(visitor(place))

        first = await carrier.enter(place, one.visitor.member)
        both = await carrier.enter(place, other.visitor.member)
        registry.remove(one)
        left = await carrier.leave(place, one.visitor.member)
        rest = await carrier.present(place)

        assert first.total >= 1
        assert {*both.members} == {one.visitor.member, other.visitor.member}
        assert left == rest.total == 1
        assert rest.members == (other.visitor.member,)

    async def test_is_of_one_channel(self, fanout: Opened, place: Channel) -> None:
        carrier, registry = fanout
        await carrier.enter(place, registry.add(visitor(place)).visitor.member)
        assert (await carrier.present(Channel(f"{place}:other"))).total == 0

    async def test_names_no_more_than_may_be(self, fanout: Opened, place: Channel) -> None:
        carrier, registry = fanout
        for _ in range(3):
            await carrier.enter(place, registry.add(visitor(place)).visitor.member)
        present = await carrier.present(place)
        assert present.total == 3
        assert len(present.members) == 2


class TestRegistry:
    async def test_spares_who_is_not_to_hear(self, fanout: Opened, place: Channel) -> None:
        _, registry = fanout
        one, other = registry.add(visitor(place)), registry.add(visitor(place))
        presence = Presence("joined", one.visitor.member)
        registry.deliver(Parcel(presence, place, one.visitor.connection_id))
        assert [len(each._waiting) for each in (one, other)] == [0, 1]
