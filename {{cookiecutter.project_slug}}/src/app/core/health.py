"""Health checks of resources."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A check of one dependency of the service.

    Attributes:
        name: Name of the dependency, such as `database`.
        check: Raises if the dependency is down.
        required: Whether the service is down without it, instead of degraded.
    """

    name: str
    check: Callable[[], Awaitable[None]]
    required: bool
