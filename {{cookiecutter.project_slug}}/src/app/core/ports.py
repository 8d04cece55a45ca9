"""Ports: interfaces of application code to the outside world, which infrastructure implements."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from uuid import UUID

from app.core.ids import new_id

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mail:
    """A plain-text mail to one recipient.

    Attributes:
        subject: One line without secrets; it may be logged.
        text: The body; it may hold secrets and is never logged.
        id: Identifies the mail across retries.
    """

    to: str
    subject: str
    text: str
    id: UUID = field(default_factory=new_id, compare=False)


class Mailer(Protocol):
    """Sends mail."""

    async def send(self, mail: Mail) -> None:
        """Send a mail.

        Raises:
            Unavailable: The mail server refuses it or does not answer.
        """


@dataclass(frozen=True, slots=True)
class Job:
    """Base of jobs: a subclass per kind, whose fields are its arguments.

    Arguments are stored: they refer to rows, and contain no secrets.
    """


class Jobs(Protocol):
    """Runs jobs after the commit of a transaction, at least once."""

    async def enqueue(self, job: Job) -> None:
        """Store a job in the transaction; a rollback drops it."""


class Events(Protocol):
    """Announces changes."""

    async def publish(self, event: object) -> None:
        """Announce an event; pass this to `session.after_commit`."""


class Cache:
    """Caches the results of expensive reads. This one loads each time; adapters override it.

    A hit costs about 70 µs of CPU, a third of the cheapest query; a miss costs twice that on top of
    the load. It pays for reads that scan or aggregate rows, and that hit more often than not.
    """

    async def remember(
        self, key: str, ttl: float, load: Callable[[], Awaitable[T]], model: type[T]
    ) -> T:
        """Return the cached value, or load and cache it.

        Args:
            key: Name of the value, such as `user-stats:{user_id}`.
            ttl: Seconds to keep it.
            load: Reads the value; concurrent calls share one load where possible.
            model: Type of the value, such as a dataclass; values are stored as JSON.
        """
        return await load()

    async def forget(self, *keys: str) -> None:
        """Drop values, and those being loaded; pass this to `session.after_commit`.

        A value that could not be dropped expires after its `ttl`.
        """


@dataclass(frozen=True, slots=True)
class Measurement:
    """A value for the metrics.

    Attributes:
        name: A name by Prometheus' conventions; `…_total` counts since the start of the process.
    """

    name: str
    description: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A check of one dependency of the service, such as `database`; raises if it is down.

    Attributes:
        required: Whether the service is down without it, instead of degraded.
    """

    name: str
    check: Callable[[], Awaitable[None]]
    required: bool
