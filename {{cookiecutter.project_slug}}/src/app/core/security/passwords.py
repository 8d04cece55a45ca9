"""Password hashing: Argon2id, off the event loop, with a cap on how many at once.

The parameters are OWASP's minimum (Password Storage Cheat Sheet); raise them by setting, and
every account follows at its next login.
"""

import asyncio
import os
import sys
import threading
import unicodedata
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from app.core.config import PasswordSettings
from app.core.errors import PasswordHashingBusy

T = TypeVar("T")
MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 128


@dataclass(frozen=True, slots=True)
class Verification:
    """What checking a password gave.

    Attributes:
        matches: Whether it is the right one.
        outdated: Whether its hash was made with other parameters than today's.
    """

    matches: bool
    outdated: bool = False


class PasswordHasher:
    """Hashes and checks passwords in threads of its own."""

    def __init__(self, settings: PasswordSettings) -> None:
        """Prepare the threads; they start with the first hash."""
        self._argon2 = Argon2(
            time_cost=settings.time_cost,
            memory_cost=settings.memory_kib,
            parallelism=settings.parallelism,
        )
        self._threads = ThreadPoolExecutor(
            settings.max_concurrent, "passwords", initializer=_yield_to_the_event_loop
        )
        self._capacity = settings.max_concurrent + settings.max_waiting
        self._pending = 0
        self._decoy = _hash_of_nothing(self._argon2)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: PasswordSettings) -> AsyncIterator["PasswordHasher"]:
        """Yield a hasher, and end its threads afterwards."""
        hasher = cls(settings)
        try:
            yield hasher
        finally:
            hasher._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Return the hash of a password, however it was typed, in the PHC string format.

        Raises:
            PasswordHashingBusy: Too many are waiting.
        """
        return await self._in_thread(lambda: self._argon2.hash(normalized_password(password)))

    async def verify(self, password: str, password_hash: str | None) -> Verification:
        """Check a password against a hash.

        Args:
            password: What was typed.
            password_hash: What is stored; `None` where there is no such account. That takes just
                as long (OWASP, Authentication Cheat Sheet), and never matches.

        Raises:
            PasswordHashingBusy: Too many are waiting.
        """
        return await self._in_thread(lambda: self._verify(password, password_hash))

    def _verify(self, password: str, password_hash: str | None) -> Verification:
        stored = self._decoy if password_hash is None else password_hash
        try:
            self._argon2.verify(stored, normalized_password(password))
        except (VerificationError, InvalidHashError):
            return Verification(matches=False)
        return Verification(True, outdated=self._argon2.check_needs_rehash(stored))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._pending >= self._capacity:
            raise PasswordHashingBusy
        self._pending += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._finished)
        return await future

    def _finished(self, _: object) -> None:
        self._pending -= 1


def _hash_of_nothing(argon2: Argon2) -> str:
    """Return a hash that no password has, which takes as long to check as a real one."""
    salt, digest = (
        b64encode(os.urandom(length)).rstrip(b"=").decode()
        for length in (argon2.salt_len, argon2.hash_len)
    )
    costs = f"m={argon2.memory_cost},t={argon2.time_cost},p={argon2.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${costs}${salt}${digest}"


def _yield_to_the_event_loop() -> None:
    """Let the scheduler prefer the event loop: on Linux each thread has its own niceness."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def normalized_password(password: str) -> str:
    """Return one form of what keyboards send in several, such as é (NIST SP 800-63B §3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def password_faults(password: str) -> list[str]:
    """Return what is missing from a password, in words for its owner; empty if it is good.

    Eight characters are the least that NIST SP 800-63B allows; the upper bound keeps hashing
    affordable.
    """
    password = normalized_password(password)
    faults = []
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        faults.append(f"{MIN_LENGTH} to {MAX_LENGTH} characters")
    if not any(character.isupper() for character in password):
        faults.append("an upper-case letter")
    if not any(character.islower() for character in password):
        faults.append("a lower-case letter")
    if not any(character.isdigit() for character in password):
        faults.append("a digit")
    return faults
