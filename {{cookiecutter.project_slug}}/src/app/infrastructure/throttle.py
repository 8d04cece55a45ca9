"""Throttling of password guesses (OWASP Authentication Cheat Sheet, login throttling).

Failures are counted per account and per network. Beyond a few, each one doubles the wait before
the next attempt, up to a limit. A count ends a fixed time after its first failure, so nobody is
locked out for good.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, String, case, delete, exists, or_, select
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
from app.infrastructure.limits import network_of

_MAX_EXPONENT = 30


class ThrottleCounter(Base):
    """A count of failures; make a model of it with a table name.

    The key is a hash, so the table does not show which names were tried.
    """

    __abstract__ = True

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int]
    window_started_at: Mapped[datetime] = mapped_column(index=True)
    last_failed_at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that may be made.

    Attributes:
        account_key: Key of the account's counter.
        limits: Failures without a wait, by key.
        failures: Failures before the attempt, by key.
    """

    account_key: str
    limits: Mapping[str, int]
    failures: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Throttle:
    """Limits attempts by the failures before them.

    Attributes:
        error: Raised while an account or a network has to wait.
        scope: Names the operation. Each has its own counts of accounts: strangers who fail to log
            in must not keep an owner who is logged in from changing the password.
    """

    model: type[ThrottleCounter]
    settings: ThrottleSettings
    error: type[TooManyRequests]
    scope: str

    async def begin(
        self, session: Session | AsyncConnection, account: str, address: str
    ) -> Attempt:
        """Return an attempt.

        Raises:
            TooManyRequests: The account or the network has to wait.
        """
        account_key = digest(f"{self.scope}:{account}")
        limits = {
            account_key: self.settings.account_failures,
            digest(f"address:{network_of(address)}"): self.settings.address_failures,
        }
        return Attempt(account_key, limits, await self.check(session, limits))

    async def check(
        self, session: Session | AsyncConnection, limits: Mapping[str, int]
    ) -> Mapping[str, int]:
        """Return the failures so far, by key.

        Raises:
            TooManyRequests: The account or the network has to wait.
        """
        model, now = self.model, utc_now()
        counters = select(model.key, model.failures, model.last_failed_at).where(
            model.key.in_(limits), model.window_started_at >= self._window_start(now)
        )
        wait, found = 0.0, {}
        for key, failures, last_at in await session.execute(counters):
            found[key] = failures
            wait = max(wait, self._wait(failures - limits[key], last_at, now))
        if wait > 0:
            raise self.error(math.ceil(wait))
        return found

    async def fail(self, session: Session, attempt: Attempt) -> None:
        """Count a failed attempt.

        Raises:
            TooManyRequests: Others failed in the meantime.
        """
        await self.check(session, attempt.limits)
        table, now = table_of(self.model), utc_now()
        ended = table.c.window_started_at < self._window_start(now)
        first = {"failures": 1, "window_started_at": now, "last_failed_at": now}
        # Sorted, so that two requests never wait for each other's row.
        rows = [{"key": key, **first} for key in sorted(attempt.limits)]
        changes = {
            "failures": case((ended, 1), else_=table.c.failures + 1),
            "window_started_at": case((ended, now), else_=table.c.window_started_at),
            "last_failed_at": now,
        }
        statement = insert(table).values(rows)
        await session.execute(
            statement.on_conflict_do_update(index_elements=[table.c.key], set_=changes)
        )

    async def clear(self, session: Session, attempt: Attempt) -> None:
        """Clear the failures of the account before a successful attempt; the network's stay."""
        if attempt.account_key in attempt.failures:
            key = self.model.key
            await session.execute(delete(self.model).where(key == attempt.account_key))

    def exceeded(self, attempt: Attempt) -> ColumnElement[bool]:
        """Return the condition that others have exceeded a limit since the attempt began."""
        model = self.model
        return exists().where(
            or_(
                *(
                    (model.key == key)
                    & (model.failures >= max(limit, attempt.failures.get(key, 0) + 1))
                    for key, limit in attempt.limits.items()
                )
            )
        )

    async def prune(self, session: Session) -> int:
        """Delete the counts that have ended, and return their number."""
        ended = self.model.window_started_at < self._window_start(utc_now())
        return await delete_where(session, self.model, ended)

    def _window_start(self, now: datetime) -> datetime:
        return now - timedelta(seconds=self.settings.window_seconds)

    def _wait(self, excess: int, last_at: datetime, now: datetime) -> float:
        if excess < 0:
            return 0.0
        delay = self.settings.base_seconds * 2.0 ** min(excess, _MAX_EXPONENT)
        return (last_at - now).total_seconds() + min(delay, self.settings.max_seconds)
