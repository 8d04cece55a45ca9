"""The file of a multipart body, streamed (RFC 7578).

FastAPI, Starlette and python-multipart's `FormParser` read the whole body first, into memory and
then to disk. This module keeps one message of the body in memory.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.core.errors import FieldError, InvalidInput, UnsupportedContent

FIELD: Final = "file"
"""Name of the only part."""

OVERHEAD_BYTES: Final = 16 * 1024
"""Bytes that a body may have besides the file: boundaries and headers of the part."""

_LONGEST_FIELD_NAME: Final = 100

Headers = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """The file of a body; name and type are unchecked, and `chunks` can be read once."""

    name: str
    media_type: str | None
    chunks: AsyncIterator[bytes]


async def uploaded_part(request: Request) -> UploadedPart:
    """Read a body up to the beginning of its file.

    Raises:
        UnsupportedContent: The body is not `multipart/form-data`.
        HTTPException: The body is malformed or incomplete (400).
        InvalidInput: The first part is not the file.
    """
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data":
        raise UnsupportedContent("The body must be multipart/form-data.")
    parts = _read(options.get(b"boundary", b""), request.stream())
    headers = await anext(parts, None)
    if not isinstance(headers, dict):
        raise _fault(FIELD, "Field required", "missing")
    disposition = _disposition(headers)
    _require_file(disposition)
    if b"filename" not in disposition:
        raise _fault(FIELD, "A file with a name is required", "file_required")
    declared = headers.get(b"content-type")
    return UploadedPart(
        name=disposition[b"filename"].decode("utf-8", "replace"),
        media_type=declared.decode("latin-1") if declared else None,
        chunks=_content(parts),
    )


async def _content(parts: AsyncIterator[Headers | bytes]) -> AsyncIterator[bytes]:
    """Yield the bytes of a part, and reject a second part."""
    async for each in parts:
        if isinstance(each, dict):
            _require_file(_disposition(each))
            raise _fault(FIELD, "There must be one file", "too_many")
        yield each


async def _read(boundary: bytes, body: AsyncIterator[bytes]) -> AsyncIterator[Headers | bytes]:
    """Yield the headers of each part, followed by its bytes."""
    if not boundary:
        raise HTTPException(400)
    events = _Events()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": events.begin_part,
                "on_header_field": events.extend_name,
                "on_header_value": events.extend_value,
                "on_header_end": events.end_header,
                "on_headers_finished": events.end_headers,
                "on_part_data": events.add_data,
                "on_end": events.end,
            },
        )
        async for message in body:
            parser.write(message)
            for event in events.pending:
                yield event
            events.pending.clear()
    except FormParserError as error:
        raise HTTPException(400) from error
    if not events.has_ended:
        raise HTTPException(400)


class _Events:
    """Collects the callbacks of the parser."""

    def __init__(self) -> None:
        self.pending: list[Headers | bytes] = []
        self.has_ended = False
        self._headers: Headers = {}
        self._name = self._value = b""

    def begin_part(self) -> None:
        self._headers = {}

    def extend_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def extend_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def end_headers(self) -> None:
        self.pending.append(self._headers)

    def add_data(self, data: bytes, start: int, end: int) -> None:
        self.pending.append(data[start:end])

    def end(self) -> None:
        self.has_ended = True


def _disposition(headers: Headers) -> Headers:
    value = headers.get(b"content-disposition", b"").decode("latin-1")
    return parse_options_header(value)[1]


def _require_file(disposition: Headers) -> None:
    """Require the name of the only part (in UTF-8, RFC 7578 §5.1)."""
    field = disposition.get(b"name", b"").decode("utf-8", "replace")
    if field != FIELD:
        shown = field[:_LONGEST_FIELD_NAME] or FIELD
        raise _fault(shown, "Extra inputs are not permitted", "extra_forbidden")


def _fault(field: str, message: str, code: str) -> InvalidInput:
    return InvalidInput(FieldError(f"body.{field}", message, code))
