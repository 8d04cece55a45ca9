"""Rows as text, in batches, and the response that streams them."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.domain.items import ExportFormat, Item
from app.infrastructure.http.context import is_head
from app.infrastructure.http.responses import ATTACHMENT

MEDIA_TYPES: Final[dict[ExportFormat, str]] = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
}
DOCUMENTED: Final[dict[str, Any]] = {
    "content": {
        media_type.partition(";")[0]: {"schema": {"type": "string"}}
        for media_type in MEDIA_TYPES.values()
    },
    "headers": ATTACHMENT,
}
"""Documents a response with items as a file, but for its words."""

_COLUMNS: Final = ("id", "title", "description", "status", "version", "created_at", "updated_at")
# The last four are the signs at full width: spreadsheets of East Asia read them as the others.
_FORMULA_STARTS: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_ITEM: Final = TypeAdapter(Item)

T = TypeVar("T")


class Export(StreamingResponse):
    """Sends items to be saved as a file, as the database gives them.

    The first are read before the response begins, so that a refusal can still be answered with its
    status. For HEAD, which would get none of them, none is read.

    Args:
        batches: The items.
        chosen: The format.
    """

    def __init__(self, batches: AsyncIterator[Sequence[Item]], chosen: ExportFormat) -> None:
        super().__init__(
            _nothing(),
            media_type=MEDIA_TYPES[chosen],
            headers={"Content-Disposition": f'attachment; filename="items.{chosen}"'},
        )
        self._batches = batches
        self._chosen = chosen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        if not is_head(scope):
            self.body_iterator = exported(await _started(self._batches), self._chosen)
        await super().__call__(scope, receive, send)


async def exported(
    batches: AsyncIterator[Sequence[Item]], chosen: ExportFormat
) -> AsyncIterator[bytes]:
    """Yield items as text.

    Args:
        batches: The items, as the database gives them.
        chosen: CSV with a header line (RFC 4180), or one JSON object per line.
    """
    encode: Callable[[Sequence[Item]], bytes]
    if chosen == "csv":
        yield ",".join(_COLUMNS).encode() + b"\r\n"
        encode = _csv
    else:
        encode = _ndjson
    async for batch in batches:
        yield encode(batch)


async def _nothing() -> AsyncIterator[bytes]:
    """Yield a part without content: what comes in parts is compressed whatever its size."""
    yield b""


async def _started(batches: AsyncIterator[T]) -> AsyncIterator[T]:
    """Wait for the first batch: until then an error can still be answered with its status."""
    try:
        first = await anext(batches)
    except StopAsyncIteration:
        return batches
    return _chained(first, batches)


async def _chained(first: T, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    yield first
    async for batch in rest:
        yield batch


def _ndjson(batch: Sequence[Item]) -> bytes:
    return b"".join(_ITEM.dump_json(item) + b"\n" for item in batch)


def _moment(moment: datetime) -> str:
    """A moment in UTC as all other answers write it."""
    return moment.isoformat().replace("+00:00", "Z")


def _csv(batch: Sequence[Item]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(
        (
            item.id,
            _harmless(item.title),
            _harmless(item.description),
            item.status,
            item.version,
            _moment(item.created_at),
            _moment(item.updated_at),
        )
        for item in batch
    )
    return text.getvalue().encode()


def _harmless(text: str) -> str:
    """Keep a spreadsheet from taking text for a formula (OWASP, CSV Injection)."""
    return f"'{text}" if text[:1] in _FORMULA_STARTS else text
