"""Stream rows as CSV or NDJSON."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeVar

from pydantic_core import to_json
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.infrastructure.http.context import is_head
from app.infrastructure.http.routes import ATTACHMENT

Format = Literal["csv", "ndjson"]

MEDIA_TYPES: Final[dict[Format, str]] = {
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
"""Documents a response with a file of rows, but for its description."""

# The last four are the full-width forms, which East Asian spreadsheets read like the others.
_FORMULA_STARTS: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")

T = TypeVar("T")


class Export(StreamingResponse):
    """Send rows as a file, as the database returns them.

    The first batch is read before the response starts, so that an error gets its own status. HEAD
    reads nothing.

    Args:
        batches: The rows.
        name: Name of the file, without its extension.
        columns: Attributes of a row, in order.
        chosen: Format of the file.
    """

    def __init__(
        self,
        batches: AsyncIterator[Sequence[object]],
        *,
        name: str,
        columns: Sequence[str],
        chosen: Format,
    ) -> None:
        super().__init__(
            _nothing(),
            media_type=MEDIA_TYPES[chosen],
            headers={"Content-Disposition": f'attachment; filename="{name}.{chosen}"'},
        )
        self._batches = batches
        self._columns = columns
        self._chosen = chosen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        if not is_head(scope):
            batches = await _started(self._batches)
            self.body_iterator = exported(batches, columns=self._columns, chosen=self._chosen)
        await super().__call__(scope, receive, send)


async def exported(
    batches: AsyncIterator[Sequence[object]], *, columns: Sequence[str], chosen: Format
) -> AsyncIterator[bytes]:
    """Yield rows as CSV with a header line (RFC 4180), or as one JSON object per line."""
    if chosen == "csv":
        yield ",".join(columns).encode() + b"\r\n"
    async for batch in batches:
        rows = ([getattr(row, name) for name in columns] for row in batch)
        yield _csv(rows) if chosen == "csv" else _ndjson(columns, rows)


async def _nothing() -> AsyncIterator[bytes]:
    """Yield one empty chunk: chunked responses bypass the compression threshold."""
    yield b""


async def _started(batches: AsyncIterator[T]) -> AsyncIterator[T]:
    """Wait for the first batch."""
    try:
        first = await anext(batches)
    except StopAsyncIteration:
        return batches
    return _chained(first, batches)


async def _chained(first: T, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    yield first
    async for batch in rest:
        yield batch


def _ndjson(columns: Sequence[str], rows: Iterable[list[object]]) -> bytes:
    return b"".join(to_json(dict(zip(columns, row, strict=True))) + b"\n" for row in rows)


def _csv(rows: Iterable[list[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    """Keep spreadsheets from reading text as a formula (OWASP, CSV Injection)."""
    if isinstance(value, str):
        return f"'{value}" if value[:1] in _FORMULA_STARTS else value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value
