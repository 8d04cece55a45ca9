"""Jobs as JSON in arq's format.

arq's default is pickle, by which anyone with access to Redis could run code in a worker.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from arq.jobs import serialize_job
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from app.core.ports import Job
from app.infrastructure.payloads import Message, UnreadableJob, adapter, dump, load

serialize: Final[Callable[[dict[str, Any]], bytes]] = to_json
deserialize: Final[Callable[[bytes], dict[str, Any]]] = from_json


def encode(sent: Message) -> bytes:
    """Serialize a message."""
    milliseconds = round(sent.enqueued_at.timestamp() * 1000)
    return serialize_job(sent.kind, (), dump(sent), None, milliseconds, serializer=serialize)


def decode(data: bytes, kinds: Mapping[str, type[Job]]) -> Message:
    """Deserialize a message.

    Raises:
        UnreadableJob: It is malformed, or of a kind that this version does not know.
    """
    try:
        stored: _Stored = adapter(_Stored).validate_json(data)
    except ValidationError as error:
        raise UnreadableJob(f"unknown job ({type(error).__name__})") from None
    return load(stored.f, stored.k, datetime.fromtimestamp(stored.et / 1000, UTC), kinds)


@dataclass(frozen=True, slots=True)
class _Stored:
    """arq's record: function, keyword arguments, enqueue time in milliseconds."""

    f: str
    k: dict[str, Any]
    et: int
