"""Stream rows as CSV or NDJSON."""

import csv
import io
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import StreamingResponse
from typing_extensions import TypeAliasType

from app.infrastructure.http.context import is_head
from app.infrastructure.http.routes import ATTACHMENT
from app.infrastructure.http.schemas import InputModel

ExportFormat = TypeAliasType("ExportFormat", Literal["csv", "ndjson"])


_CHUNK_BYTES: Final = 64 * 1024

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
"""Documents a response with a file of rows; add a description."""

# A formula at the start of a cell or of a line in it: some spreadsheets split cells there. White
# space and characters without a width may precede it (Unicode's Default_Ignorable_Code_Point). The
# last four starts are the full-width forms, which East Asian spreadsheets read like the others.
_BREAKS: Final = "\n\r\v\f\x85\u2028\u2029"
_IGNORED: Final = (
    r"[^\S\n\r\v\f\x85\u2028\u2029]"
    "|[\0-\x08\x0e-\x1f\x7f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
_FORMULA_START: Final = re.compile(
    rf"\A(?=[\t\r\n])|(?:\A|(?<=[{_BREAKS}]))(?=(?:{_IGNORED})*[=+\-@\uff1d\uff0b\uff0d\uff20])"
)


class ExportQuery(InputModel):
    """Format of an export."""

    format: ExportFormat = Field(
        "csv",
        description="CSV for spreadsheets (RFC 4180), NDJSON for programs.",
        examples=["ndjson"],
    )


async def export(
    request: Request,
    batches: AsyncIterator[Sequence[object]],
    *,
    name: str,
    columns: Sequence[str],
    chosen: ExportFormat,
) -> StreamingResponse:
    """Return rows as a file, sent as the database returns them.

    The first batch is read before the response starts, so that an error has its own status. HEAD
    reads nothing. The file name is `name` with the format as its extension.
    """
    chunks = exported(batches, columns=columns, chosen=chosen)
    first = None if is_head(request.scope) else await anext(chunks, b"")
    return StreamingResponse(
        _resumed(first, chunks),
        media_type=MEDIA_TYPES[chosen],
        headers={"Content-Disposition": f'attachment; filename="{name}.{chosen}"'},
    )


async def exported(
    batches: AsyncIterator[Sequence[object]], *, columns: Sequence[str], chosen: ExportFormat
) -> AsyncIterator[bytes]:
    """Yield rows as CSV with a header line (RFC 4180), or as one JSON object per line."""
    header = ",".join(columns).encode() + b"\r\n" if chosen == "csv" else b""
    async for batch in batches:
        rows = ([getattr(row, name) for name in columns] for row in batch)
        yield header + (_csv(rows) if chosen == "csv" else _ndjson(columns, rows))
        header = b""
    if header:
        yield header


async def _resumed(first: bytes | None, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    # One chunk at least: chunked responses bypass the compression threshold.
    if first is None:
        yield b""
    chunk = first
    while chunk is not None:
        # The server holds a chunk until the client has read it.
        for start in range(0, len(chunk) or 1, _CHUNK_BYTES):
            yield chunk[start : start + _CHUNK_BYTES]
        chunk = await anext(rest, None)


def _ndjson(columns: Sequence[str], rows: Iterable[list[object]]) -> bytes:
    return b"".join(to_json(dict(zip(columns, row, strict=True))) + b"\n" for row in rows)


def _csv(rows: Iterable[list[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    """Keep spreadsheets from reading text as a formula (OWASP, CSV Injection)."""
    if isinstance(value, str):
        return _FORMULA_START.sub("'", value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value
