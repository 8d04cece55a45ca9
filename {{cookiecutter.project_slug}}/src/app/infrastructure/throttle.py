"""Throttling of password guesses.

Failures are counted per account and network, per known device, per network, and per account over
all unknown networks. Beyond a few, each one doubles the wait before the next attempt; beyond the
last limit, unknown networks wait for the end of the day. Known devices and networks have counters
of their own, so strangers can't lock an owner out. See "Slow Down Online Guessing Attacks with
Device Cookies" (OWASP). A count ends a fixed time after its first failure.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Row, String, case, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from app.core.clock import utc_now
from app.core.config import ThrottleSettings
from app.core.errors import TooManyRequests
from app.core.security.secrets import digest
from app.infrastructure.database import Session
from app.infrastructure.database.dialect import insert
from app.infrastructure.database.models import Base
from app.infrastructure.database.repository import delete_where, table_of
from app.infrastructure.limits import SITE_FACTOR, SITE_PREFIX, network_of

Counters = Mapping[str, Row[str, int, datetime, datetime]]
_MAX_EXPONENT: Final = 30
_MAX_SKEW: Final = timedelta(minutes=1)
_DAY: Final = 86_400
_KNOWN: Final = 30 * _DAY


class ThrottleCounter(Base):
    """A count of failures, zero for a known network; subclass it with a table name.

    The key is a hash, so the table does not show which names were tried.
    """

    __abstract__ = True

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int]
    updated_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


@dataclass(frozen=True, slots=True)
class Limit:
    """Failures allowed without a wait; seconds of the first wait, and until they are forgotten."""

    failures: int
    wait: int
    life: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that may be made.

    Attributes:
        own_key: Key of the counter that a success clears.
        known_key: Key of the row that makes the network known.
        limits: Limits by key.
        counters: Rows of the table before the attempt, by key.
    """

    own_key: str
    known_key: str
    limits: Mapping[str, Limit]
    counters: Counters

    @property
    def is_known(self) -> bool:
        """Return whether the account was logged in to from the network before."""
        return self.known_key in self.counters

    def failures(self, key: str) -> int:
        """Return the failures of a counter before the attempt."""
        return self.counters[key].failures if key in self.counters else 0


@dataclass(frozen=True, slots=True)
class Throttle:
    """Limits attempts by the failures before them.

    Attributes:
        error: Raised while an attempt has to wait.
        scope: Names the operation. Each has its own counts of accounts: strangers who fail to log
            in must not keep an owner who is logged in from changing the password.
    """

    model: type[ThrottleCounter]
    settings: ThrottleSettings
    error: type[TooManyRequests]
    scope: str

    async def begin(
        self,
        session: Session | AsyncConnection,
        account: str,
        address: str,
        device: str | None = None,
    ) -> Attempt:
        """Return an attempt.

        Args:
            session: Reads the counters.
            account: ID of the account, or a name that no account has.
            address: IP address of the client.
            device: Known device or session of the account; its own counter alone applies.

        Raises:
            TooManyRequests: The attempt has to wait.
        """
        settings, account_key = self.settings, digest(f"{self.scope}:{account}")
        network, site = network_of(address), network_of(address, SITE_PREFIX)
        known_key = digest(f"known:{account}:{network}")
        if device is None:
            limits = self._limits(account_key, network)
            # An IPv4 address is its own site, and has the limits of a network.
            strangers = {
                account_key: Limit(settings.daily_failures, _DAY, _DAY),
                **self._limits(account_key, site, SITE_FACTOR),
                **limits,
            }
        else:
            own = Limit(settings.account_failures, settings.base_seconds, _DAY)
            limits = strangers = {digest(f"{account_key}:device:{device}"): own}
        own_key = next(iter(limits))
        counters = await self._read(session, {known_key, *strangers})
        limits = limits if known_key in counters else strangers
        self._require_no_wait(limits, counters)
        return Attempt(own_key, known_key, limits, counters)

    async def check(self, session: Session | AsyncConnection, limits: Mapping[str, Limit]) -> None:
        """Check the counters again.

        Raises:
            TooManyRequests: Others failed in the meantime.
        """
        self._require_no_wait(limits, await self._read(session, limits))

    async def fail(self, session: Session, attempt: Attempt) -> None:
        """Count a failed attempt.

        Raises:
            TooManyRequests: Others failed in the meantime.
        """
        await self.check(session, attempt.limits)
        lives = {key: limit.life for key, limit in attempt.limits.items()}
        await self._count(session, lives, failures=1)

    async def clear(self, session: Session, attempt: Attempt) -> None:
        """Clear the failures of the device or the account in the network; make the network known.

        The counts of the network and of all unknown networks stay.
        """
        lives = {attempt.own_key: 0} if attempt.failures(attempt.own_key) else {}
        known = attempt.counters.get(attempt.known_key)
        if known is None or known.expires_at < utc_now() + timedelta(seconds=_KNOWN - _DAY):
            lives[attempt.known_key] = _KNOWN
        if lives:
            await self._count(session, lives, failures=0)

    def exceeded(self, attempt: Attempt) -> ColumnElement[bool]:
        """Return the condition that others have exceeded a limit since the attempt began."""
        model = self.model
        return exists().where(
            model.expires_at > utc_now(),
            or_(
                *(
                    (model.key == key)
                    & (model.failures >= max(limit.failures, attempt.failures(key) + 1))
                    for key, limit in attempt.limits.items()
                )
            ),
        )

    async def prune(self, session: Session) -> int:
        """Delete expired counters, and return their number."""
        return await delete_where(session, self.model, self.model.expires_at <= utc_now())

    def _limits(self, account_key: str, network: str, factor: int = 1) -> dict[str, Limit]:
        settings, wait = self.settings, self.settings.base_seconds
        of_account = Limit(factor * settings.account_failures, wait, _DAY)
        of_network = Limit(factor * settings.address_failures, wait, settings.window_seconds)
        return {
            digest(f"{account_key}:network:{network}"): of_account,
            digest(f"network:{network}"): of_network,
        }

    async def _read(self, session: Session | AsyncConnection, keys: Collection[str]) -> Counters:
        model = self.model
        columns = (model.key, model.failures, model.updated_at, model.expires_at)
        statement = select(*columns).where(model.key.in_(keys), model.expires_at > utc_now())
        return {row.key: row for row in await session.execute(statement)}

    def _require_no_wait(self, limits: Mapping[str, Limit], counters: Counters) -> None:
        now, wait = utc_now(), 0.0
        for key, limit in limits.items():
            counter = counters.get(key)
            # One of the future is of a clock that was set back since, and would wait for it.
            if (
                counter is not None
                and counter.failures >= limit.failures
                and counter.updated_at <= now + _MAX_SKEW
            ):
                exponent = min(counter.failures - limit.failures, _MAX_EXPONENT)
                longest = max(limit.wait, self.settings.max_seconds)
                delay = timedelta(seconds=min(limit.wait * 2.0**exponent, longest))
                ends_at = min(counter.updated_at + delay, counter.expires_at)
                wait = max(wait, (ends_at - now).total_seconds())
        if wait > 0:
            raise self.error(math.ceil(wait))

    async def _count(self, session: Session, lives: Mapping[str, int], *, failures: int) -> None:
        """Add failures to counters, or clear these, by one statement."""
        table, now = table_of(self.model), utc_now()
        # Sorted, so that two requests never wait for each other's row.
        rows = [
            {
                "key": key,
                "failures": failures,
                "updated_at": now,
                "expires_at": now + timedelta(seconds=lives[key]),
            }
            for key in sorted(lives)
        ]
        statement = insert(table).values(rows)
        added = statement.excluded
        anew = or_(table.c.expires_at <= now, added.failures == 0)
        changes = {
            "failures": case((anew, added.failures), else_=table.c.failures + added.failures),
            "updated_at": now,
            "expires_at": case((anew, added.expires_at), else_=table.c.expires_at),
        }
        await session.execute(
            statement.on_conflict_do_update(index_elements=[table.c.key], set_=changes)
        )
