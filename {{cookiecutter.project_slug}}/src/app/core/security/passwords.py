"""Password hashing with Argon2id, in a bounded number of threads.

The default parameters are OWASP's minimum (Password Storage Cheat Sheet). After a change of the
settings, each password is rehashed at the next login.
"""

import asyncio
import os
import re
import sys
import threading
import unicodedata
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.resources import files
from typing import Final, TypeVar

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from app.about import DISTRIBUTION, TITLE
from app.core.config import PasswordSettings
from app.core.errors import PasswordHashingBusy
from app.core.ports import Measurement

T = TypeVar("T")
MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 128
_SHORTEST_NAME: Final = 3
_LIST: Final = "common_passwords.txt"
_SUBSTITUTES: Final = str.maketrans("013457@$!", "oieastasi")


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of checking a password; `outdated` hashes have other parameters than the settings."""

    matches: bool
    outdated: bool = False


class PasswordHasher:
    """Hashes and verifies passwords in its own threads.

    Both methods raise `PasswordHashingBusy` if too many callers wait.
    """

    def __init__(self, settings: PasswordSettings) -> None:
        """Prepare the threads; they start with the first hash."""
        self._argon2 = Argon2(
            time_cost=settings.time_cost,
            memory_cost=settings.memory_kib,
            parallelism=1,
        )
        # Strangers wait for each other; owners don't wait for them.
        self._strangers = _Queue(settings.concurrency, settings.max_waiting)
        self._owners = _Queue(1, settings.max_waiting)
        self._decoy = _decoy(self._argon2)
        self._settings = settings

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: PasswordSettings) -> AsyncIterator["PasswordHasher"]:
        """Yield a hasher, and end its threads afterwards."""
        hasher = cls(settings)
        try:
            yield hasher
        finally:
            for queue in (hasher._strangers, hasher._owners):
                queue.threads.shutdown(wait=False, cancel_futures=True)

    def faults(self, password: str, *names: str) -> list[str]:
        """Return the requirements that a new password does not meet (ASVS 5.0 §6.2).

        Args:
            password: The password.
            names: Names of the account; a variation of them is not enough.
        """
        settings = self._settings
        password = normalized_password(password)
        plain = password.casefold()
        names = (DISTRIBUTION, TITLE, *names)
        requirements = {
            f"{settings.min_length} to {MAX_LENGTH} characters": (
                settings.min_length <= len(password) <= MAX_LENGTH
            ),
            "to be less common": not self._is_common(plain),
            f"{MIN_LENGTH} characters besides the names of the account and service": (
                not _consists_of(plain, names)
            ),
        }
        if settings.composition_rules:
            requirements |= {
                "an upper-case letter": any(map(str.isupper, password)),
                "a lower-case letter": any(map(str.islower, password)),
                "a digit": any(map(str.isdigit, password)),
            }
        return [name for name, is_met in requirements.items() if not is_met]

    @cached_property
    def _common(self) -> frozenset[str]:
        lines = files(__package__).joinpath(_LIST).read_text(encoding="ascii").splitlines()
        return frozenset(" ".join(line for line in lines if not line.startswith("# ")).split())

    def _is_common(self, plain: str) -> bool:
        unit = plain[: (plain + plain).find(plain, 1)]
        words = {_stripped(unit), _stripped(unit.translate(_SUBSTITUTES))}
        words |= {word.translate(_SUBSTITUTES) for word in words}
        return (
            len(unit) < min(MIN_LENGTH, len(plain))
            or not self._common.isdisjoint({plain, unit})
            or any(word in self._common and len(unit) - len(word) < MIN_LENGTH for word in words)
        )

    async def hash(self, password: str, *, known: bool = False) -> str:
        """Return the hash of a password in the PHC string format.

        Args:
            password: The password.
            known: As in `verify`.
        """
        queue = self._owners if known else self._strangers
        return await queue.run(partial(self._argon2.hash, normalized_password(password)))

    async def verify(
        self, password: str, password_hash: str | None, *, known: bool = False
    ) -> Verification:
        """Check a password against a hash.

        Without a hash, because there is no such account, it takes as long and never matches (OWASP
        Authentication Cheat Sheet).

        Args:
            password: The password.
            password_hash: The hash.
            known: Whether it comes from a session, device or network of the account: strangers who
                guess must not keep it waiting.
        """
        queue = self._owners if known else self._strangers
        return await queue.run(partial(self._verify, password, password_hash))

    def _verify(self, password: str, password_hash: str | None) -> Verification:
        stored = self._decoy if password_hash is None else password_hash
        try:
            self._argon2.verify(stored, normalized_password(password))
        except (VerificationError, InvalidHashError):
            return Verification(matches=False)
        return Verification(True, outdated=self._argon2.check_needs_rehash(stored))

    def measure(self) -> Iterator[Measurement]:
        """Measure the queue."""
        queues = (self._strangers, self._owners)
        name = "password_hashes"
        running = sum(queue.running for queue in queues)
        yield Measurement(f"{name}_running", "Hashes in progress.", running)
        waiting = sum(queue.pending for queue in queues) - running
        yield Measurement(f"{name}_waiting", "Logins that wait for their hash.", waiting)
        description = "Logins refused because too many wait."
        yield Measurement(f"{name}_refused_total", description, sum(q.refused for q in queues))


class _Queue:
    """Threads, and a limit for those who wait for one."""

    def __init__(self, concurrency: int, max_waiting: int) -> None:
        self.threads = ThreadPoolExecutor(concurrency, "passwords", initializer=_lower_priority)
        self.pending = self.refused = 0
        self._concurrency = concurrency
        self._capacity = concurrency + max_waiting

    @property
    def running(self) -> int:
        return min(self.pending, self._concurrency)

    async def run(self, work: Callable[[], T]) -> T:
        if self.pending >= self._capacity:
            self.refused += 1
            raise PasswordHashingBusy
        self.pending += 1
        future = asyncio.get_running_loop().run_in_executor(self.threads, work)
        future.add_done_callback(self._finished)
        return await future

    def _finished(self, _: object) -> None:
        self.pending -= 1


def _decoy(argon2: Argon2) -> str:
    """Return a hash that matches no password and takes as long to check as a real one."""
    salt, digest = (
        b64encode(os.urandom(length)).rstrip(b"=").decode()
        for length in (argon2.salt_len, argon2.hash_len)
    )
    costs = f"m={argon2.memory_cost},t={argon2.time_cost},p={argon2.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${costs}${salt}${digest}"


def _lower_priority() -> None:
    """Let the scheduler prefer the event loop: on Linux each thread has its own niceness."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def normalized_password(password: str) -> str:
    """Return the NFKC form: characters such as é have several (NIST SP 800-63B §3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def _stripped(text: str) -> str:
    """Strip digits and signs from both ends."""
    return re.sub(r"^[\W\d_]+|[\W\d_]+$", "", text)


def _consists_of(plain: str, names: Iterable[str]) -> bool:
    """Return whether a password is too short without these names and the words in them."""
    normal = map(normalized_password, names)
    words = {word for name in normal for word in (name, *re.split(r"[\W_]+", name))}
    words |= {re.sub(r"[\W_]+", "", word) for word in words}
    rest = plain
    for word in sorted((word.casefold() for word in words), key=len, reverse=True):
        if len(word) >= _SHORTEST_NAME:
            rest = rest.replace(word, "")
    return rest != plain and len(rest) < MIN_LENGTH
