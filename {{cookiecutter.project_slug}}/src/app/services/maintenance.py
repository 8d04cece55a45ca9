"""What nobody needs any more."""

from dataclasses import dataclass
from datetime import timedelta

from app.config import Settings
from app.core.clock import utc_now
from app.repositories.login_throttles import LoginThrottleRepository
from app.repositories.sessions import RefreshTokenRepository, SessionRepository
from app.services.ports import IdempotencyStore, UnitsOfWork


@dataclass(frozen=True, slots=True)
class PruneReport:
    """How many rows were deleted.

    Attributes:
        sessions: Logins that have ended.
        refresh_tokens: Tokens used so long ago that their session has ended or moved on.
        login_throttles: Counts of failed logins that no longer matter.
        idempotency_keys: Answers that were kept to be given again.
    """

    sessions: int
    refresh_tokens: int
    login_throttles: int
    idempotency_keys: int


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Cleans up; run it once a day."""

    database: UnitsOfWork
    idempotency: IdempotencyStore
    settings: Settings

    async def prune(self) -> PruneReport:
        """Delete what has expired, and say how much it was."""
        now = utc_now()
        tokens_before = now - timedelta(days=self.settings.auth.refresh_token_days)
        throttles_before = now - timedelta(seconds=self.settings.throttle.window_seconds)
        idempotency_keys = await self.idempotency.prune()
        async with self.database.transaction() as session:
            return PruneReport(
                sessions=await SessionRepository(session).delete_ended(now),
                refresh_tokens=await RefreshTokenRepository(session).delete_used(tokens_before),
                login_throttles=await LoginThrottleRepository(session).delete_older(
                    throttles_before
                ),
                idempotency_keys=idempotency_keys,
            )
