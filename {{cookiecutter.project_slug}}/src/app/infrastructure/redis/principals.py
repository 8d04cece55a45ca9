"""Who stands behind tokens, remembered by all processes together.

Cache-aside with leases (Nishtala et al., *Scaling Memcache at Facebook*, NSDI 2013, §3.2.1). Who
finds nothing leaves a lease in the place of the entry, asks the database, and stores the answer
only if its lease is still there. Whoever changes something ends entry and lease alike. Thus:

- what was read before a change is never stored after it, however long the reading took;
- one process asks the database, and the others wait for what it stores. Within a process one
  request asks, and those beside it share its answer.

A user stands in one entry, and each login and key in one of its own that names the user. So a
change of a user is one key to forget, however many logins there are. Redis may lose any entry at
any time: what is not there is asked for.
"""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from pydantic import TypeAdapter

from app.core.clock import utc_now
from app.domain.api_keys import ApiKeyId
from app.domain.auth import KeyHolder, SessionHolder, SessionId
from app.domain.users import UserId, UserProfile
from app.infrastructure.outbox import Outbox
from app.infrastructure.redis.breaker import RedisUnavailable
from app.infrastructure.redis.client import GuardedRedis, Script

T = TypeVar("T")
Load = Callable[[], Awaitable[T | None]]

_LAYOUT: Final = "1"
"""Part of every key: raise it when entries of the old code and of the new must not meet."""

_LEASE_SECONDS: Final = 5.0
_WAIT_SECONDS: Final = 0.5
_FIRST_LOOK_SECONDS: Final = 0.002
_ENDED: Final = b"x"

_LEASE: Final = Script("""
-- Leave a lease where there is nothing of this shape, unless somebody else is loading already.
local found = redis.call('MGET', unpack(KEYS))
local missing = {}
for i = 1, #KEYS do
  local value = found[i] or ''
  local kind = string.sub(value, 1, 1)
  if kind == 'l' or kind == 'x' then return found end
  if string.sub(value, 1, #ARGV[3]) ~= ARGV[3] then missing[#missing + 1] = KEYS[i] end
end
for _, key in ipairs(missing) do redis.call('SET', key, 'l' .. ARGV[1], 'PX', ARGV[2]) end
return found
""")

_FILL: Final = Script("""
-- Put values in the places of a lease; tell whether it was still there, in all of them.
local kept = 1
for i, key in ipairs(KEYS) do
  if redis.call('GET', key) ~= 'l' .. ARGV[1] then
    kept = 0
  elseif ARGV[i + 2] == '' then
    redis.call('DEL', key)
  else
    redis.call('SET', key, ARGV[i + 2], 'PX', ARGV[2])
  end
end
return kept
""")

_END: Final = Script("""
for _, key in ipairs(KEYS) do redis.call('SET', key, 'x', 'EX', ARGV[1]) end
""")


@dataclass(frozen=True, slots=True)
class _Session:
    user_id: UserId
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _ApiKey:
    user_id: UserId
    key_id: ApiKeyId
    scope: str
    expires_at: datetime | None
    last_used_at: datetime | None


_SESSION: Final = TypeAdapter(_Session)
_API_KEY: Final = TypeAdapter(_ApiKey)
_USER: Final = TypeAdapter(UserProfile)


def _tag() -> bytes:
    """What an entry begins with: a digest of how all types of entries look.

    What another release wrote in another shape is not there for this one; what this one forgets is
    forgotten for the other, because the keys are the same.
    """
    shapes = [adapter.json_schema() for adapter in (_SESSION, _API_KEY, _USER)]
    digest = hashlib.sha256(json.dumps(shapes, sort_keys=True).encode())
    return b"v" + digest.hexdigest()[:8].encode()


_TAG: Final = _tag()


@dataclass(frozen=True, slots=True)
class _Way(Generic[T]):
    """From entries to a value, and back.

    Attributes:
        read: Makes the value of the entries; None if they don't belong together.
        write: Makes the entries, in the order of their keys.
        ends: When the value is over; None if it isn't by itself.
    """

    read: Callable[[Sequence[bytes]], T | None]
    write: Callable[[T], Sequence[bytes]]
    ends: Callable[[T], datetime | None]


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[T]):
    """What a flight brought.

    Attributes:
        value: The value.
        kept: Whether nothing of it has changed meanwhile, as far as that is known.
    """

    value: T | None
    kept: bool


class RedisPrincipals:
    """Who stands behind tokens.

    While Redis is away every request asks the database. What it could not be told to forget, it is
    told when it is back, and until then this process asks the database for it.

    Args:
        redis: Where the entries are.
        outbox: Keeps what Redis has not been told.
        prefix: What keys start with.
        seconds: Life span of an entry.
        token_seconds: Life span of an access token: so long it is known that a login has ended.
    """

    def __init__(
        self, redis: GuardedRedis, outbox: Outbox, *, prefix: str, seconds: int, token_seconds: int
    ) -> None:
        self._redis = redis
        self._outbox = outbox
        self._prefix = f"{prefix}:principals:{_LAYOUT}"
        self._seconds = seconds
        self._token_seconds = token_seconds
        self._flights: dict[str, asyncio.Future[_Outcome[Any]]] = {}

    async def session(
        self, user_id: UserId, session_id: SessionId, load: Load[SessionHolder]
    ) -> SessionHolder | None:
        """Return who has logged in; None if nobody, or nobody any more."""

        def read(entries: Sequence[bytes]) -> SessionHolder | None:
            login, user = _SESSION.validate_json(entries[0]), _USER.validate_json(entries[1])
            return SessionHolder(user, login.expires_at) if login.user_id == user_id else None

        def write(holder: SessionHolder) -> Sequence[bytes]:
            login = _Session(holder.user.id, holder.expires_at)
            return _SESSION.dump_json(login), _USER.dump_json(holder.user)

        keys = self._key("session", session_id), self._key("user", user_id)
        return await self._through(keys, _Way(read, write, lambda holder: holder.expires_at), load)

    async def api_key(self, key_hash: str, load: Load[KeyHolder]) -> KeyHolder | None:
        """Return who holds an API key, by its hash; None if nobody, or nobody any more."""
        loaded: KeyHolder | None = None

        async def load_key() -> _ApiKey | None:
            nonlocal loaded
            loaded = holder = await load()
            if holder is None:
                return None
            return _ApiKey(
                holder.user.id,
                holder.key_id,
                holder.scope,
                holder.expires_at,
                holder.last_used_at,
            )

        async def load_user() -> UserProfile | None:
            holder = await load()
            return holder.user if holder else None

        key = await self._through((self._key("api-key", key_hash),), _KEY_WAY, load_key)
        if key is None or loaded is not None:
            return loaded
        # Whose key it is was not known before.
        user = await self._through((self._key("user", key.user_id),), _USER_WAY, load_user)
        if user is None:
            return None
        return KeyHolder(user, key.key_id, key.scope, key.expires_at, key.last_used_at)

    async def forget_user(self, user_id: UserId) -> None:
        """Forget what is remembered of a user, who was changed or deleted."""
        key = self._key("user", user_id)
        await self._forget([key], lambda: self._redis.command("DEL", key))

    async def forget_sessions(self, session_ids: Collection[SessionId]) -> None:
        """Forget logins, and remember that they have ended for good."""
        keys = [self._key("session", session_id) for session_id in session_ids]
        await self._forget(keys, lambda: self._redis.run(_END, keys, self._token_seconds))

    async def forget_api_key(self, key_hash: str) -> None:
        """Forget an API key, and remember that it was revoked for good."""
        keys = [self._key("api-key", key_hash)]
        await self._forget(keys, lambda: self._redis.run(_END, keys, self._seconds))

    async def _forget(self, keys: list[str], action: Callable[[], Awaitable[object]]) -> None:
        # No entry outlives its life span: then there is nothing left to forget.
        await self._outbox.send(keys, action, seconds=self._seconds + _LEASE_SECONDS)

    async def _through(self, keys: tuple[str, ...], way: _Way[T], load: Load[T]) -> T | None:
        """Return what is remembered, or else what is loaded, which is then remembered."""
        if any(key in self._outbox for key in keys):
            return await load()
        try:
            found = await self._redis.command("MGET", *keys)
        except RedisUnavailable:
            return await load()
        if found[0] == _ENDED:
            return None
        entries = _entries(found)
        if entries is not None:
            return way.read(entries)
        return await self._one_flight(keys, way, load)

    async def _one_flight(self, keys: tuple[str, ...], way: _Way[T], load: Load[T]) -> T | None:
        """Load what many ask for at once only once in this process."""
        flight = self._flights.get(keys[0])
        if flight is not None:
            outcome: _Outcome[T] = await asyncio.shield(flight)
            # Else it may be from before a change that the one who asks knows of.
            return outcome.value if outcome.kept else await load()
        flight = self._flights[keys[0]] = asyncio.get_running_loop().create_future()
        try:
            outcome = await self._fly(keys, way, load)
            flight.set_result(outcome)
        except Exception as error:
            flight.set_exception(error)
            flight.exception()  # perhaps nobody else waits for it
            raise
        finally:
            del self._flights[keys[0]]
            if not flight.done():  # cancelled: the others go on by themselves
                flight.set_result(_Outcome(None, kept=False))
        return outcome.value

    async def _fly(self, keys: tuple[str, ...], way: _Way[T], load: Load[T]) -> _Outcome[T]:
        """Take the lease, load and fill; or wait for what another process loads."""
        token = secrets.token_hex(8)
        try:
            found = await self._lease(keys, token)
        except RedisUnavailable:
            return _Outcome(await load(), kept=False)
        if found[0] == _ENDED:
            return _Outcome(None, kept=True)
        entries = _entries(found)
        if entries is not None:
            return _Outcome(way.read(entries), kept=True)
        if _is_busy(found):
            # Whoever loads is slow, or gone.
            return _Outcome(await load(), kept=False)
        leased = [key for key, value in zip(keys, found, strict=True) if not _is_ours(value)]
        try:
            value = await load()
        except BaseException:
            await self._fill(leased, token, dict.fromkeys(leased, b""), 1)
            raise
        if value is None:
            kept = await self._fill(leased, token, dict.fromkeys(leased, b""), 1)
        else:
            written = dict(zip(keys, way.write(value), strict=True))
            kept = await self._fill(leased, token, written, self._life(way.ends(value)))
        return _Outcome(value, kept=kept)

    async def _lease(self, keys: tuple[str, ...], token: str) -> list[bytes | None]:
        """Take the lease of what is missing; wait a while if another has it; return the entries."""
        look_after, give_up = _FIRST_LOOK_SECONDS, time.monotonic() + _WAIT_SECONDS
        while True:
            found: list[bytes | None] = await self._redis.run(
                _LEASE, list(keys), token, round(_LEASE_SECONDS * 1000), _TAG
            )
            if not _is_busy(found) or time.monotonic() > give_up:
                return found
            await asyncio.sleep(look_after)
            look_after *= 2

    async def _fill(
        self, leased: list[str], token: str, values: Mapping[str, bytes], milliseconds: int
    ) -> bool:
        """Store values in the places of a lease, or give it back; tell if it was still there."""
        words = [_TAG + values[key] if values[key] else b"" for key in leased]
        try:
            return bool(await self._redis.run(_FILL, leased, token, milliseconds, *words))
        except RedisUnavailable:
            return False

    def _life(self, ends: datetime | None) -> int:
        """Milliseconds that an entry lives: no longer than what it tells of."""
        life = float(self._seconds)
        if ends is not None:
            life = min(life, (ends - utc_now()).total_seconds())
        return max(1, round(life * 1000))

    def _key(self, kind: str, name: object) -> str:
        return f"{self._prefix}:{kind}:{name}"


_KEY_WAY: Final[_Way[_ApiKey]] = _Way(
    read=lambda entries: _API_KEY.validate_json(entries[0]),
    write=lambda key: (_API_KEY.dump_json(key),),
    ends=lambda key: key.expires_at,
)
_USER_WAY: Final[_Way[UserProfile]] = _Way(
    read=lambda entries: _USER.validate_json(entries[0]),
    write=lambda user: (_USER.dump_json(user),),
    ends=lambda _: None,
)


def _is_ours(value: bytes | None) -> bool:
    return value is not None and value.startswith(_TAG)


def _is_busy(found: Sequence[bytes | None]) -> bool:
    return any(value is not None and value.startswith(b"l") for value in found)


def _entries(found: Sequence[bytes | None]) -> list[bytes] | None:
    """The entries as JSON, if all are there."""
    entries = [value[len(_TAG) :] for value in found if value is not None and _is_ours(value)]
    return entries if len(entries) == len(found) else None
