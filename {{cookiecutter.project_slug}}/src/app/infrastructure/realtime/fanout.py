"""Fan-out of messages to other processes, by Redis.

A process delivers to its own connections itself, so these never depend on Redis; the others
subscribe to one Redis channel. Redis drops undelivered messages: a process that lost its
subscription for a while sends its clients a `resync`.
"""

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

import structlog
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from app.core.config.realtime import RealtimeSettings
from app.core.config.redis import RedisSettings
from app.infrastructure.realtime.connections import Connections, Envelope, Present
from app.infrastructure.realtime.messages import MemberResponse, PresenceMessage, ResyncMessage
from app.infrastructure.redis import GuardedRedis, RedisUnavailable, Script, open_redis

logger = structlog.stdlib.get_logger(__name__)

_VERSION: Final = 1
"""Version of the format in Redis. Releases with different versions do not exchange messages."""

_ALL: Final = "*"
_NONE: Final = "-"
_OUTBOX: Final = 10_000
_PROCESSES: Final = 1_000
_SILENT_SECONDS: Final = 5.0
_CONNECTIONS: Final = 4
_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 2.0
_BATCH: Final = 1_000

# The members of a channel are a sorted set by expiry, on Redis' clock; their process renews it.
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
# Atomic, so that one process alone learns of expired members, and announces them.
_BEAT: Final = Script(
    f"""{_NOW}
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
redis.call('EXPIRE', KEYS[1], math.ceil(ARGV[1] * 2))
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)
if #lapsed > 0 then redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now) end
return lapsed
"""
)


class FanOutSettings(Protocol):
    """The groups of settings in use."""

    @property
    def realtime(self) -> RealtimeSettings:
        """WebSockets."""

    @property
    def redis(self) -> RedisSettings:
        """Redis."""


class FanOut:
    """Exchanges messages with other processes, and knows the members of all of them."""

    def __init__(
        self,
        settings: FanOutSettings,
        connections: Connections,
        redis: GuardedRedis,
        listener: "Redis",
    ) -> None:
        """Send commands by `redis`; subscribe by `listener`, which waits without a limit."""
        self._settings = settings.realtime
        self._connections = connections
        self._redis = redis
        self._listener = listener
        name = f"{settings.redis.prefix}:realtime:{_VERSION}"
        self._topic = f"{name}:messages"
        self._places = f"{name}:present:"
        self._origin = uuid4().hex
        self._numbers = count(1)
        self._outbox: deque[bytes] = deque(maxlen=_OUTBOX)
        self._to_send = asyncio.Event()
        self._received: OrderedDict[bytes, int] = OrderedDict()
        self._listening = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: FanOutSettings, connections: Connections
    ) -> AsyncIterator["FanOut"]:
        """Yield a fan-out that is subscribed, or will be as soon as Redis is available."""
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(
                GuardedRedis.open(settings.redis, connections=_CONNECTIONS)
            )
            listener = await stack.enter_async_context(open_redis(settings.redis, connections=2))
            fanout = cls(settings, connections, redis, listener)
            tasks = [
                asyncio.create_task(work(), name=f"realtime {work.__name__}")
                for work in (fanout._listen, fanout._send, fanout._beat)
            ]
            try:
                async with asyncio.timeout(settings.redis.connect_timeout):
                    await fanout._listening.wait()
            except TimeoutError:
                logger.warning("fan-out not subscribed yet")
            try:
                yield fanout
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def publish(self, envelope: Envelope) -> None:
        """Send a message to other processes, in order; the caller does not wait.

        Without Redis, messages are queued up to a limit; then the oldest are dropped.
        """
        channel = _ALL if envelope.channel is None else envelope.channel
        excluded = _NONE if envelope.exclude is None else envelope.exclude.hex
        packet = f"{self._origin} {next(self._numbers)} {channel} {excluded} {envelope.text}"
        self._outbox.append(packet.encode())
        self._to_send.set()

    async def enter(self, channel: str, member: MemberResponse) -> Present:
        """Add a member, and return those of all processes."""
        life = str(self._settings.presence_seconds)
        return await self._look(_ENTER, channel, life, member.model_dump_json())

    async def leave(self, channel: str, member: MemberResponse) -> int:
        """Remove a member, and return the number of those left."""
        try:
            left: int = await self._redis.run(
                _LEAVE, [self._places + channel], member.model_dump_json()
            )
        except RedisUnavailable:
            return self._connections.present(channel).total
        return left

    async def present(self, channel: str) -> Present:
        """Return the members of a channel; without Redis, those of this process."""
        return await self._look(_PRESENT, channel)

    async def _look(self, script: Script, channel: str, *words: str) -> Present:
        limit = self._settings.presence_limit
        try:
            total, members = await self._redis.run(script, [self._places + channel], limit, *words)
        except RedisUnavailable:
            return self._connections.present(channel)
        return Present(tuple(map(MemberResponse.model_validate_json, members)), total)

    async def _send(self) -> None:
        """Send queued messages, and resend one that Redis may not have received."""
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            wait = _FIRST_WAIT
            # Messages of one sender keep their order.
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
        """Receive messages, and resubscribe whenever the subscription is lost."""
        wait, is_lost = _FIRST_WAIT, False
        while True:
            # The library's own types differ between versions.
            subscription: Any = self._listener.pubsub()
            try:
                async with asyncio.timeout(_SILENT_SECONDS):
                    await subscription.subscribe(self._topic)
                    await subscription.get_message(timeout=_SILENT_SECONDS)
                if is_lost:
                    logger.info("fan-out resubscribed")
                    self._connections.deliver(Envelope(ResyncMessage().model_dump_json()))
                wait, is_lost = _FIRST_WAIT, False
                self._listening.set()
                await self._receive(subscription)
            except (RedisError, OSError) as error:
                if not is_lost:
                    cause = type(error).__name__
                    logger.warning("fan-out subscription lost", cause=cause)
                is_lost = True
            finally:
                with suppress(RedisError, OSError):
                    await subscription.aclose()
            await _pause(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _receive(self, subscription: Any) -> None:  # noqa: ANN401 - as above
        """Deliver messages of other processes.

        Raises:
            ConnectionError: The connection is lost, or a ping was not answered.
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
        """Deliver a message of another process once."""
        try:
            origin, number, channel, excluded, text = packet.split(b" ", 4)
            if origin == self._origin.encode() or int(number) <= self._received.get(origin, 0):
                return
            name, spared = channel.decode(), excluded.decode()
            envelope = Envelope(
                text.decode(),
                None if name == _ALL else name,
                None if spared == _NONE else UUID(spared),
            )
        except ValueError:
            logger.warning("fan-out packet malformed", size=len(packet))
            return
        self._received[origin] = int(number)
        self._received.move_to_end(origin)
        if len(self._received) > _PROCESSES:
            self._received.popitem(last=False)
        self._connections.deliver(envelope)

    async def _beat(self) -> None:
        """Renew the members of this process, and announce expired ones."""
        while True:
            await _pause(self._settings.presence_seconds / 3)
            try:
                # One command at a time, so that others get through.
                for channel in self._connections.channels:
                    await self._renew(channel)
            except RedisUnavailable:
                continue

    async def _renew(self, channel: str) -> None:
        members = [member.model_dump_json() for member in self._connections.members(channel)]
        life = str(self._settings.presence_seconds)
        for start in range(0, len(members), _BATCH):
            batch = members[start : start + _BATCH]
            expired: list[Any] = await self._redis.run(
                _BEAT, [self._places + channel], life, *batch
            )
            for text in expired:
                member = MemberResponse.model_validate_json(text)
                message = PresenceMessage(type="left", member=member)
                envelope = Envelope(message.model_dump_json(), channel)
                self._connections.deliver(envelope)
                self.publish(envelope)


async def _pause(seconds: float) -> None:
    """Sleep with jitter, so that processes don't reconnect at the same time."""
    await asyncio.sleep(seconds * random.SystemRandom().uniform(0.8, 1.2))
