"""Throttling of password guesses (OWASP Authentication Cheat Sheet, login throttling).

Failures are counted per account and per network. Beyond a few, each one doubles the wait before
the next attempt, up to a limit. A count ends a fixed time after its first failure, so nobody is
locked out for good.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, String, case, delete, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from app.core.addresses import network_of
from app.core.clock import utc_now
from app.core.config import ThrottleSettings
from app.core.errors import Conflict, TooManyRequests
from app.core.security.secrets import digest
from app.infrastructure.database import Session
from app.infrastructure.database.models import Base
from app.infrastructure.database.repository import delete_where

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


class Throttle:
    """Limits attempts by the failures before them.

    Args:
        model: The table of the counters.
        settings: The limits.
        error: Raised while an account or a network has to wait.
        scope: Names the operation. Each has its own counts of accounts: strangers who fail to log
            in must not keep an owner who is logged in from changing the password.
    """

    def __init__(
        self,
        model: type[ThrottleCounter],
        settings: ThrottleSettings,
        error: type[TooManyRequests],
        *,
        scope: str,
    ) -> None:
        self._model = model
        self._settings = settings
        self._error = error
        self._scope = scope

    async def begin(
        self, session: Session | AsyncConnection, account: str, address: str
    ) -> Attempt:
        """Return an attempt.

        Raises:
            TooManyRequests: The account or the network has to wait.
        """
        account_key = digest(f"{self._scope}:{account}")
        limits = {
            account_key: self._settings.account_failures,
            digest(f"address:{network_of(address)}"): self._settings.address_failures,
        }
        return Attempt(account_key, limits, await self._check(session, limits))

    async def fail(self, session: Session, attempt: Attempt) -> None:
        """Count a failed attempt.

        Raises:
            TooManyRequests: Others failed in the meantime: concurrent guesses are no way around
                the limit.
        """
        await self._check(session, attempt.limits)
        now = utc_now()
        # In order: sorted, so that two requests never wait for each other's row.
        for key in sorted(attempt.limits):
            if not await self._increment(session, key, now):
                await self._insert(session, key, now)

    async def recheck(self, session: Session, attempt: Attempt) -> None:
        """Check again at the end of an attempt.

        Raises:
            TooManyRequests: Others failed in the meantime.
        """
        await self._check(session, attempt.limits)

    async def clear(self, session: Session, attempt: Attempt) -> None:
        """Clear the failures of the account before a successful attempt; the network's stay."""
        if attempt.account_key in attempt.failures:
            key = self._model.key
            await session.execute(delete(self._model).where(key == attempt.account_key))

    def exceeded(self, attempt: Attempt) -> ColumnElement[bool]:
        """Return the condition that others have exceeded a limit since the attempt began."""
        model = self._model
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
        ended = self._model.window_started_at < self._window_start(utc_now())
        return await delete_where(session, self._model, ended)

    async def _check(
        self, session: Session | AsyncConnection, limits: Mapping[str, int]
    ) -> Mapping[str, int]:
        model, now = self._model, utc_now()
        counters = select(model.key, model.failures, model.last_failed_at).where(
            model.key.in_(limits), model.window_started_at >= self._window_start(now)
        )
        wait, found = 0.0, {}
        for key, failures, last_at in await session.execute(counters):
            found[key] = failures
            wait = max(wait, self._wait(failures - limits[key], last_at, now))
        if wait > 0:
            raise self._error(math.ceil(wait))
        return found

    async def _increment(self, session: Session, key: str, now: datetime) -> bool:
        model = self._model
        ended = model.window_started_at < self._window_start(now)
        statement = (
            update(model)
            .where(model.key == key)
            .values(
                failures=case((ended, 1), else_=model.failures + 1),
                window_started_at=case((ended, now), else_=model.window_started_at),
                last_failed_at=now,
            )
            .returning(model.key)
            .execution_options(synchronize_session=False)
        )
        return (await session.execute(statement)).first() is not None

    async def _insert(self, session: Session, key: str, now: datetime) -> None:
        counter = self._model(key=key, failures=1, window_started_at=now, last_failed_at=now)
        try:
            async with session.begin_nested():
                session.add(counter)
        except Conflict:
            # Another process counted the first failure in between.
            await self._increment(session, key, now)

    def _window_start(self, now: datetime) -> datetime:
        return now - timedelta(seconds=self._settings.window_seconds)

    def _wait(self, excess: int, last_at: datetime, now: datetime) -> float:
        if excess < 0:
            return 0.0
        delay = self._settings.base_seconds * 2.0 ** min(excess, _MAX_EXPONENT)
        delay = min(delay, self._settings.max_seconds)
        return (last_at - now).total_seconds() + delay
