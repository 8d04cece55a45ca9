"""Jobs as bytes: JSON in the form of arq, made and checked by the types of the jobs.

arq pickles by default, and whoever can write to Redis could then run code in a worker.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from arq.jobs import serialize_job
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from structlog.contextvars import get_contextvars

from app.core.clock import utc_now
from app.core.ports import Job, SendMail
from app.domain.exports import ExportItems, Prune, RemoveExports

KINDS: Final[tuple[type[Job], ...]] = (SendMail, ExportItems, Prune, RemoveExports)
"""All kinds of jobs that can travel. Their names are stored: one that is renamed is a new kind."""

_TRAVELLING: Final = ("request_id", "user_id")
_ADAPTERS: Final[Mapping[str, TypeAdapter[Job]]] = {
    kind.__name__: TypeAdapter(kind) for kind in KINDS
}

serialize: Final[Callable[[dict[str, Any]], bytes]] = to_json
deserialize: Final[Callable[[bytes], dict[str, Any]]] = from_json


class UnreadableJob(Exception):
    """What is stored is no job of ours. The message holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A job on its way.

    Attributes:
        job: What is to be done.
        context: What its log lines say of the request that asked for it.
        asked_at: When that was.
    """

    job: Job
    context: Mapping[str, str] = field(default_factory=dict)
    asked_at: datetime = field(default_factory=utc_now)

    @property
    def kind(self) -> str:
        """The name of its type."""
        return type(self.job).__name__


def packed(job: Job) -> Packed:
    """Pack a job with the id of the request and of the user that it is asked for by."""
    bound = get_contextvars()
    return Packed(job, {name: str(bound[name]) for name in _TRAVELLING if name in bound})


def to_bytes(package: Packed) -> bytes:
    """Write a job down."""
    arguments = {
        "job": _ADAPTERS[package.kind].dump_python(package.job, mode="json"),
        "context": package.context,
    }
    moment = round(package.asked_at.timestamp() * 1000)
    return serialize_job(package.kind, (), arguments, None, moment, serializer=serialize)


def from_bytes(data: bytes) -> Packed:
    """Read a job.

    Raises:
        UnreadableJob: It is none, or one of a version of the service that knows other kinds.
    """
    try:
        stored = _STORED.validate_json(data)
        job = _ADAPTERS[stored.f].validate_python(stored.k.job)
    except (ValidationError, KeyError) as error:
        message = f"not a job that we know ({type(error).__name__})"
        raise UnreadableJob(message) from None
    asked_at = datetime.fromtimestamp(stored.et / 1000, UTC)
    return Packed(job, stored.k.context, asked_at)


@dataclass(frozen=True, slots=True)
class _Arguments:
    """What arq calls keyword arguments; a job of the calendar has none."""

    job: dict[str, Any] = field(default_factory=dict)
    context: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Stored:
    """arq's own record: function, keyword arguments, time in milliseconds since 1970."""

    f: str
    k: _Arguments
    et: int


_STORED: Final = TypeAdapter(_Stored)
