"""Jobs as JSON, with the context of the request that enqueued them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from structlog.contextvars import get_contextvars

from app.core.clock import utc_now
from app.core.ports import Job

_CONTEXT: Final = ("request_id", "user_id")

adapter: Final[Callable[[Any], TypeAdapter[Any]]] = cache(TypeAdapter)


class UnreadableJob(Exception):
    """The stored job is malformed or of an unknown kind; the message reveals nothing of it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A job with its metadata.

    Attributes:
        context: Ids of the request and user that enqueued the job, for the log.
    """

    job: Job
    context: Mapping[str, str] = field(default_factory=dict)
    enqueued_at: datetime = field(default_factory=utc_now)

    @property
    def kind(self) -> str:
        """Name of the job's class."""
        return type(self.job).__name__


@dataclass(frozen=True, slots=True)
class Payload:
    """The stored part of a message; a scheduled job has no arguments."""

    job: dict[str, Any] = field(default_factory=dict)
    context: dict[str, str] = field(default_factory=dict)


def message(job: Job) -> Message:
    """Return a job with the context of this request."""
    bound = get_contextvars()
    return Message(job, {name: str(bound[name]) for name in _CONTEXT if name in bound})


def dump(sent: Message) -> dict[str, Any]:
    """Return the payload of a message, for JSON."""
    job = adapter(type(sent.job)).dump_python(sent.job, mode="json")
    return {"job": job, "context": dict(sent.context)}


def load(
    kind: str, payload: object, enqueued_at: datetime, kinds: Mapping[str, type[Job]]
) -> Message:
    """Return the message of a payload.

    Raises:
        UnreadableJob: It is malformed, or of a kind that this version does not know.
    """
    try:
        stored: Payload = adapter(Payload).validate_python(payload)
        job: Job = adapter(kinds[kind]).validate_python(stored.job)
    except (ValidationError, KeyError) as error:
        raise UnreadableJob(f"unknown job ({type(error).__name__})") from None
    return Message(job, stored.context, enqueued_at)
