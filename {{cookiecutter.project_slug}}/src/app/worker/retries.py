"""When a job that failed is tried again."""

import random
from collections.abc import Callable

from app.core.config import JobSettings

Chance = Callable[[], float]
"""A number from 0 to 1."""


def seconds_to_next_try(settings: JobSettings, tries: int, chance: Chance = random.random) -> float:
    """Return how long to wait: twice as long after each try, less up to a half by chance.

    Jobs that failed together, because something was away, thus don't come back together.

    Args:
        settings: The first pause, and the longest.
        tries: How often the job was begun.
        chance: Where chance comes from.
    """
    # Past sixty doublings it is the longest one anyway, and a float would overflow before long.
    pause = settings.retry_seconds * 2.0 ** min(tries - 1, 60)
    return min(pause, settings.retry_max_seconds) * (1 - chance() / 2)
