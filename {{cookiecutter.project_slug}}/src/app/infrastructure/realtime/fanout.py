"""What is said in one process is heard in all of them, by way of Redis.

A process delivers to its own connections itself, so that these never depend on Redis; the others
hear of it by one Redis channel. Redis forgets what it could not deliver: whoever lost the
subscription for a while tells its clients so (`resync`), and these read again what they show.
"""

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from typing import Annotated, Any, Final, Protocol
from uuid import UUID, uuid4

import structlog
from pydantic import Discriminator, TypeAdapter, ValidationError
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from app.config import Settings
from app.domain.realtime import (
    Channel,
    ConnectionId,
    Member,
    Parcel,
    Presence,
    Present,
    Resync,
    Shared,
)
from app.infrastructure.realtime.registry import Registry
from app.infrastructure.redis import GuardedRedis, RedisUnavailable, Script, open_redis

logger = structlog.stdlib.get_logger(__name__)

_MESSAGE: Final[TypeAdapter[Shared]] = TypeAdapter(Annotated[Shared, Discriminator("type")])
_MEMBER: Final = TypeAdapter(Member)
_VERSION: Final = 1
"""Of what is written to Redis. Releases that differ in it do not hear each other."""

_EVERYBODY: Final = "*"
_NOBODY: Final = "-"
_OUTBOX: Final = 10_000
_PROCESSES: Final = 1_000
_SILENT_SECONDS: Final = 5.0
_CONNECTIONS: Final = 4
_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 2.0
_BATCH: Final = 1_000

# Members of a channel are in a sorted set, by the moment, on Redis' clock, at which they count as
# gone unless their process says otherwise.
_NOW: Final = "local t = redis.call('TIME') local now = t[1] + t[2] / 1000000 "
_LOOK: Final = """
return {
    redis.call('ZCOUNT', KEYS[1], now, '+inf'),
    redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'LIMIT', 0, ARGV[1])
}
"""
_PRESENT: Final = Script(_NOW + _LOOK)
_ENTER: Final = Script(
    f"""{_NOW}
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], math.ceil(ARGV[2] * 2))
{_LOOK}"""
)
_LEAVE: Final = Script(
    f"""{_NOW}
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('ZCOUNT', KEYS[1], now, '+inf')
"""
)
# One step, so that of all processes one alone is told who has lapsed, and tells the others.
_BEAT: Final = Script(
    f"""{_NOW}
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
redis.call('EXPIRE', KEYS[1], math.ceil(ARGV[1] * 2))
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)
if #lapsed > 0 then redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now) end
return lapsed
"""
)


class FanOut:
    """Carries messages between processes, and knows who is where in all of them."""

    def __init__(
        self, settings: Settings, registry: Registry, redis: GuardedRedis, listener: "Redis"
    ) -> None:
        """Serve one process.

        Args:
            settings: The prefix of all names in Redis, and the times of presence.
            registry: The connections of this process.
            redis: For what has an answer.
            listener: For the subscription, which waits without a limit.
        """
        self._settings = settings.realtime
        self._registry = registry
        self._redis = redis
        self._listener = listener
        name = f"{settings.redis.prefix}:realtime:{_VERSION}"
        self._topic = f"{name}:messages"
        self._places = f"{name}:present:"
        self._origin = uuid4().hex
        self._numbers = count(1)
        self._outbox: deque[bytes] = deque(maxlen=_OUTBOX)
        self._to_send = asyncio.Event()
        self._heard: OrderedDict[bytes, int] = OrderedDict()
        self._listening = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, registry: Registry) -> AsyncIterator["FanOut"]:
        """Yield one that hears the others, if Redis is there; and else as soon as it is."""
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(
                GuardedRedis.open(settings.redis, connections=_CONNECTIONS)
            )
            listener = await stack.enter_async_context(open_redis(settings.redis, connections=2))
            fanout = cls(settings, registry, redis, listener)
            tasks = [
                asyncio.create_task(work(), name=f"realtime {work.__name__}")
                for work in (fanout._listen, fanout._send, fanout._beat)
            ]
            try:
                async with asyncio.timeout(settings.redis.connect_timeout):
                    await fanout._listening.wait()
            except TimeoutError:
                logger.warning("live events of other processes are not heard yet")
            try:
                yield fanout
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def publish(self, parcel: Parcel) -> None:
        """Have the other processes hear a message, in the order of asking; nobody waits for it.

        While Redis is away it is kept, up to a number, of which the oldest goes first.
        """
        head = (
            self._origin,
            str(next(self._numbers)),
            _EVERYBODY if parcel.channel is None else parcel.channel,
            _NOBODY if parcel.but is None else parcel.but.hex,
        )
        text = _MESSAGE.dump_json(parcel.message)
        self._outbox.append(b" ".join((" ".join(head).encode(), text)))
        self._to_send.set()

    async def enter(self, channel: Channel, member: Member) -> Present:
        """Note who has come, and return who is there, by all processes that Redis knows of."""
        words = (
            self._settings.presence_limit,
            str(self._settings.presence_seconds),
            _MEMBER.dump_json(member),
        )
        return await self._look(_ENTER, channel, *words)

    async def leave(self, channel: Channel, member: Member) -> int:
        """Note who has gone, and return how many are left."""
        try:
            left: int = await self._redis.run(
                _LEAVE, [self._places + channel], _MEMBER.dump_json(member)
            )
        except RedisUnavailable:
            return self._registry.present(channel).total
        return left

    async def present(self, channel: Channel) -> Present:
        """Return who is in a channel; of this process alone, while Redis is away."""
        return await self._look(_PRESENT, channel, self._settings.presence_limit)

    async def _look(self, script: Script, channel: Channel, *words: str | bytes | int) -> Present:
        try:
            total, members = await self._redis.run(script, [self._places + channel], *words)
        except RedisUnavailable:
            return self._registry.present(channel)
        return Present(tuple(map(_MEMBER.validate_json, members)), total)

    async def _send(self) -> None:
        """Send what is to be heard, one after another; again, if it is not sure that it was."""
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            wait = _FIRST_WAIT
            # In order: what one sender says is heard in the order in which it was said.
            while self._outbox:
                packet = self._outbox[0]
                try:
                    await self._redis.command("PUBLISH", self._topic, packet)
                except RedisUnavailable:
                    await _pause(wait)
                    wait = min(2 * wait, _LONGEST_WAIT)
                    continue
                wait = _FIRST_WAIT
                if self._outbox and self._outbox[0] is packet:
                    self._outbox.popleft()

    async def _listen(self) -> None:
        """Hear the others, over and over: a subscription that is lost is made anew."""
        wait, is_lost = _FIRST_WAIT, False
        while True:
            subscription: _Subscription = self._listener.pubsub()
            try:
                async with asyncio.timeout(_SILENT_SECONDS):
                    await subscription.subscribe(self._topic)
                    await subscription.get_message(timeout=_SILENT_SECONDS)
                if is_lost:
                    logger.info("live events of other processes are heard again")
                    self._registry.deliver(Parcel(Resync()))
                wait, is_lost = _FIRST_WAIT, False
                self._listening.set()
                await self._hear(subscription)
            except (RedisError, OSError) as error:
                if not is_lost:
                    cause = type(error).__name__
                    logger.warning("live events of other processes are not heard", cause=cause)
                is_lost = True
            finally:
                with suppress(RedisError, OSError):
                    await subscription.aclose()
            await _pause(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _hear(self, subscription: "_Subscription") -> None:
        """Deliver what the others send.

        Raises:
            ConnectionError: The connection is lost, or nothing has come over it, not even the
                answer to a ping.
        """
        was_asked = False
        while True:
            message = await subscription.get_message(timeout=_SILENT_SECONDS)
            if message is None:
                if was_asked:
                    raise RedisConnectionError("silent")
                await subscription.ping()
            elif message["type"] == "message":
                self._take(message["data"])
            was_asked = message is None

    def _take(self, packet: bytes) -> None:
        """Deliver what another process has sent, unless it is known already."""
        try:
            origin, number, place, but, text = packet.split(b" ", 4)
            if origin == self._origin.encode() or int(number) <= self._heard.get(origin, 0):
                return
            self._heard[origin] = int(number)
            self._heard.move_to_end(origin)
            if len(self._heard) > _PROCESSES:
                self._heard.popitem(last=False)
            name = place.decode()
            channel = None if name == _EVERYBODY else Channel(name)
            if self._registry.concerns(channel):
                spared = None if but == _NOBODY.encode() else ConnectionId(UUID(but.decode()))
                message = _MESSAGE.validate_json(text)
                self._registry.deliver(Parcel(message, channel, spared))
        except (ValidationError, ValueError):
            # Of another version of the service, or of a stranger: the others go on.
            logger.warning("a live event of another process can't be read", size=len(packet))

    async def _beat(self) -> None:
        """Say, now and then, that this process' members are still there, and find who is not."""
        while True:
            await _pause(self._settings.presence_seconds / 3)
            try:
                # In order: one command at a time leaves Redis to others in between.
                for channel in self._registry.channels:
                    await self._still_there(channel)
            except RedisUnavailable:
                continue

    async def _still_there(self, channel: Channel) -> None:
        members = [_MEMBER.dump_json(member) for member in self._registry.members(channel)]
        life = str(self._settings.presence_seconds)
        # In order: as above.
        for start in range(0, len(members), _BATCH):
            batch: Sequence[bytes] = members[start : start + _BATCH]
            lapsed: list[Any] = await self._redis.run(_BEAT, [self._places + channel], life, *batch)
            for text in lapsed:
                member = _MEMBER.validate_json(text)
                parcel = Parcel(Presence("left", member), channel)
                self._registry.deliver(parcel)
                self.publish(parcel)


async def _pause(seconds: float) -> None:
    """Wait a little more or less than so long: many processes must not come back at once."""
    await asyncio.sleep(seconds * random.SystemRandom().uniform(0.8, 1.2))


class _Subscription(Protocol):
    """What is used of a subscription; the library's own types differ from version to version."""

    async def subscribe(self, *topics: str) -> Any: ...  # noqa: ANN401

    async def get_message(self, *, timeout: float | None) -> Any: ...  # noqa: ANN401, ASYNC109

    def ping(self) -> Awaitable[Any]: ...

    async def aclose(self) -> Any: ...  # noqa: ANN401
