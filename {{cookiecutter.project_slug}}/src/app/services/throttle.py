"""A brake on guessing passwords (OWASP Authentication Cheat Sheet, login throttling).

Failures are counted by account and by address. Beyond a few, each further one doubles the time
until the next try is looked at, up to a limit; and a count ends some time after its first failure,
however many have followed: nobody is locked out for good.
"""

import math
from datetime import datetime, timedelta
from typing import Literal

from app.config import ThrottleSettings
from app.core.addresses import network_of
from app.core.clock import utc_now
from app.core.security.secrets import digest
from app.domain.auth import TooManyLoginAttempts
from app.repositories.login_throttles import (
    Failures,
    LoginThrottleReader,
    LoginThrottleRepository,
)
from app.services.ports import UnitsOfWork

_MAX_EXPONENT = 30


class LoginThrottle:
    """Decides whether a password may be tried.

    Args:
        settings: The limits.
        door: Where. What fails at one door counts for no account at the other: what strangers try
            when they log in must not keep an owner who has done so from a new password.
    """

    def __init__(
        self, settings: ThrottleSettings, *, door: Literal["login", "change"] = "login"
    ) -> None:
        self._settings = settings
        self._door = door

    async def check(self, counts: LoginThrottleReader, account: str, address: str) -> None:
        """Pass if a login may be tried now.

        Raises:
            TooManyLoginAttempts: There were too many failures.
        """
        now = utc_now()
        limits = {
            self._account_key(account): self._settings.account_failures,
            _address_key(address): self._settings.address_failures,
        }
        failures = await counts.failures(limits, self._window_start(now))
        wait = max((self._wait(failures[key], limits[key], now) for key in failures), default=0.0)
        if wait > 0:
            raise TooManyLoginAttempts(math.ceil(wait))

    async def count_failure(self, database: UnitsOfWork, account: str, address: str) -> None:
        """Count a failed login for good: the error that answers it rolls nothing of this back.

        Raises:
            TooManyLoginAttempts: Others have failed while this password was checked: that many
                guesses at once are no way around the limit.
        """
        async with database.transaction() as session:
            counts = LoginThrottleRepository(session)
            await self.check(counts, account, address)
            await self.record_failure(counts, account, address)

    async def record_failure(
        self, counts: LoginThrottleRepository, account: str, address: str
    ) -> None:
        """Count a failed login, inside the transaction of the counts."""
        now = utc_now()
        # In order: sorted, so that two requests never wait for each other's row.
        for key in sorted((self._account_key(account), _address_key(address))):
            await counts.record(key, now, self._window_start(now))

    async def forgive(self, counts: LoginThrottleRepository, account: str, address: str) -> None:
        """Forget the failures of an account whose owner has come in; the address stays suspect.

        Raises:
            TooManyLoginAttempts: Others have failed while this password was checked, which may have
                been one guess of many.
        """
        await self.check(counts, account, address)
        await counts.forget(self._account_key(account))

    def _account_key(self, account: str) -> str:
        return digest(f"{self._door}:{account}")

    def _window_start(self, now: datetime) -> datetime:
        return now - timedelta(seconds=self._settings.window_seconds)

    def _wait(self, failures: Failures, allowed: int, now: datetime) -> float:
        excess = failures.count - allowed
        if excess < 0:
            return 0.0
        delay = self._settings.base_seconds * 2.0 ** min(excess, _MAX_EXPONENT)
        delay = min(delay, self._settings.max_seconds)
        return (failures.last_at - now).total_seconds() + delay


def _address_key(address: str) -> str:
    return digest(f"address:{network_of(address)}")
