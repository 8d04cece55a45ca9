"""Deletion of expired rows."""

from dataclasses import dataclass
from datetime import timedelta

from app.core.clock import utc_now
from app.core.config import AuthSettings
from app.core.idempotency import IdempotencyStore
from app.infrastructure.database import Database
from app.infrastructure.throttle import Throttle
from app.repositories.sessions import SessionRepository


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Deletes expired rows; run it once a day."""

    database: Database
    throttle: Throttle
    idempotency: IdempotencyStore
    settings: AuthSettings

    async def prune(self) -> dict[str, int]:
        """Delete expired rows, and return their numbers."""
        now = utc_now()
        keys = await self.idempotency.prune()
        used_before = now - timedelta(days=self.settings.refresh_token_days)
        async with self.database.transaction() as session:
            sessions = SessionRepository(session)
            return {
                "sessions": await sessions.delete_ended(now),
                "refresh_tokens": await sessions.delete_used_tokens(used_before),
                "login_throttles": await self.throttle.prune(session),
                "idempotency_keys": keys,
            }
