"""Failed logins, counted in the database: all processes see the same."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, delete, select, update

from app.core.errors import Conflict
from app.infrastructure.database.repository import Reader, Repository, table_of
from app.models import LoginThrottle

_throttles = table_of(LoginThrottle).c


@dataclass(frozen=True, slots=True)
class Failures:
    """How often logins have failed, and when the last one did."""

    count: int
    last_at: datetime


class LoginThrottleReader(Reader):
    """Reads the counts."""

    async def failures(self, keys: Iterable[str], since: datetime) -> Mapping[str, Failures]:
        """Return the failures by key, of the counts that began no earlier than `since`."""
        statement = select(_throttles.key, _throttles.failures, _throttles.last_failed_at).where(
            _throttles.key.in_(keys), _throttles.window_started_at >= since
        )
        rows = await self._rows(statement)
        return {key: Failures(count, last_at) for key, count, last_at in rows}


class LoginThrottleRepository(LoginThrottleReader, Repository[LoginThrottle]):
    """Stores the counts."""

    entity = LoginThrottle

    async def record(self, key: str, now: datetime, since: datetime) -> None:
        """Count one more failure; a count that began before `since` starts anew."""
        if await self._increment(key, now, since):
            return
        try:
            async with self._session.begin_nested():
                await self.add(
                    LoginThrottle(key=key, failures=1, window_started_at=now, last_failed_at=now)
                )
        except Conflict:
            # Another process counted the first failure in between.
            await self._increment(key, now, since)

    async def forget(self, key: str) -> None:
        """Delete a count."""
        await self._session.execute(delete(LoginThrottle).where(LoginThrottle.key == key))

    async def delete_older(self, than: datetime) -> int:
        """Delete the counts that began earlier; return how many."""
        return await self._delete_where(LoginThrottle.window_started_at < than)

    async def _increment(self, key: str, now: datetime, since: datetime) -> bool:
        started = LoginThrottle.window_started_at
        is_over = started < since
        statement = (
            update(LoginThrottle)
            .where(LoginThrottle.key == key)
            .values(
                failures=case((is_over, 1), else_=LoginThrottle.failures + 1),
                window_started_at=case((is_over, now), else_=started),
                last_failed_at=now,
            )
            .returning(LoginThrottle.key)
            .execution_options(synchronize_session=False)
        )
        return (await self._session.execute(statement)).first() is not None
