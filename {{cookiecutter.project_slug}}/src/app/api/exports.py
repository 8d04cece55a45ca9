"""Rows as text, in batches, for responses that stream."""

import csv
import io
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

from pydantic import TypeAdapter

from app.api.schemas.items import ExportFormat
from app.domain.items import Item

MEDIA_TYPES: Final[dict[ExportFormat, str]] = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
}
_COLUMNS: Final = ("id", "title", "description", "status", "version", "created_at", "updated_at")
# The last four are the signs at full width: spreadsheets of East Asia read them as the others.
_FORMULA_STARTS: Final = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")
_ITEM: Final = TypeAdapter(Item)

T = TypeVar("T")


async def exported(
    batches: AsyncIterator[list[Item]], chosen: ExportFormat
) -> AsyncIterator[bytes]:
    """Yield items as text.

    Args:
        batches: The items, as the database gives them.
        chosen: CSV with a header line (RFC 4180), or one JSON object per line.
    """
    encode: Callable[[list[Item]], bytes]
    if chosen == "csv":
        yield ",".join(_COLUMNS).encode() + b"\r\n"
        encode = _csv
    else:
        encode = _ndjson
    async for batch in batches:
        yield encode(batch)


async def started(batches: AsyncIterator[T]) -> AsyncIterator[T]:
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


def _ndjson(batch: list[Item]) -> bytes:
    return b"".join(_ITEM.dump_json(item) + b"\n" for item in batch)


def _csv(batch: list[Item]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(
        (
            item.id,
            _harmless(item.title),
            _harmless(item.description),
            item.status,
            item.version,
            item.created_at.isoformat(),
            item.updated_at.isoformat(),
        )
        for item in batch
    )
    return text.getvalue().encode()


def _harmless(text: str) -> str:
    """Keep a spreadsheet from taking text for a formula (OWASP, CSV Injection)."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
