"""Settings of password hashing."""

import os
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from app.core.config.base import Fault, SettingsGroup

_OWASP_MINIMUM_KIB = {1: 47_104, 2: 19_456, 3: 12_288, 4: 9_216, 5: 7_168}
"""Least memory by number of passes (OWASP Password Storage Cheat Sheet, Argon2id)."""


def _spare_processors() -> int:
    """All but the one that the event loop is on: whoever logs in waits, and nobody else does."""
    known = hasattr(os, "sched_getaffinity")
    processors = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return max(1, processors - 1)


class PasswordSettings(SettingsGroup):
    """What an Argon2id hash costs (RFC 9106), and how many are computed at once."""

    time_cost: Annotated[int, Field(ge=1, le=100)] = 2
    """Number of passes over the memory."""

    memory_kib: Annotated[int, Field(ge=8, le=4_194_304)] = 19_456
    """Memory of one hash, in KiB. Production refuses less than OWASP's minimum for the passes."""

    parallelism: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of lanes of one hash."""

    max_concurrent: Annotated[int, Field(ge=1, le=256)] = Field(default_factory=_spare_processors)
    """Number of hashes that a server process computes at once. Unset: one less than there are
    processors, of which one is left to everything else, and at least one."""

    max_waiting: Annotated[int, Field(ge=0, le=100_000)] = 64
    """Number of logins that may wait for their hash; more are answered with 503 at once."""

    def weaknesses(self) -> Iterator[Fault]:
        """Yield why these parameters won't do in production."""
        minimum = _OWASP_MINIMUM_KIB[min(self.time_cost, max(_OWASP_MINIMUM_KIB))]
        if self.memory_kib < minimum:
            sentence = (
                f"must be at least {minimum} for {self.time_cost} passes, the minimum of OWASP"
            )
            yield "memory_kib", sentence
