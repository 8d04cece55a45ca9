"""Jobs as JSON in arq's format.

arq's default is pickle, by which anyone with access to Redis could run code in a worker.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from arq.jobs import serialize_job
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from structlog.contextvars import get_contextvars

from app.core.clock import utc_now
from app.core.ports import Job

_CONTEXT: Final = ("request_id", "user_id")

serialize: Final[Callable[[dict[str, Any]], bytes]] = to_json
deserialize: Final[Callable[[bytes], dict[str, Any]]] = from_json
_adapter: Final[Callable[[Any], TypeAdapter[Any]]] = cache(TypeAdapter)


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


def message(job: Job) -> Message:
    """Return a job with the context of this request."""
    bound = get_contextvars()
    return Message(job, {name: str(bound[name]) for name in _CONTEXT if name in bound})


def encode(sent: Message) -> bytes:
    """Serialize a message."""
    arguments = {
        "job": _adapter(type(sent.job)).dump_python(sent.job, mode="json"),
        "context": sent.context,
    }
    milliseconds = round(sent.enqueued_at.timestamp() * 1000)
    return serialize_job(sent.kind, (), arguments, None, milliseconds, serializer=serialize)


def decode(data: bytes, kinds: Mapping[str, type[Job]]) -> Message:
    """Deserialize a message.

    Raises:
        UnreadableJob: It is malformed, or of a kind that this version does not know.
    """
    try:
        stored = _STORED.validate_json(data)
        job: Job = _adapter(kinds[stored.f]).validate_python(stored.k.job)
    except (ValidationError, KeyError) as error:
        raise UnreadableJob(f"unknown job ({type(error).__name__})") from None
    return Message(job, stored.k.context, datetime.fromtimestamp(stored.et / 1000, UTC))


@dataclass(frozen=True, slots=True)
class _Arguments:
    """Keyword arguments of arq's record; a cron job has none."""

    job: dict[str, Any] = field(default_factory=dict)
    context: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Stored:
    """arq's record: function, keyword arguments, enqueue time in milliseconds."""

    f: str
    k: _Arguments
    et: int


_STORED: Final = TypeAdapter(_Stored)
