"""One file out of a multipart body, as it comes in (RFC 7578).

FastAPI's own way to files reads the whole body first, into memory and then onto the disk. This one
keeps what the last message brought, so that a file can be larger than either.
"""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.core.errors import FieldError, InvalidInput, UnsupportedContent

FIELD: Final = "file"
"""The name of the part that holds the file; there is no other."""

OVERHEAD_BYTES: Final = 16 * 1024
"""What a body may have besides the file: boundaries and the headers of the part."""

_MEDIA_TYPE: Final = b"multipart/form-data"
_LONGEST_FIELD_NAME: Final = 100
_MALFORMED: Final = 400

Headers = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """The file in a body.

    Attributes:
        name: What the client calls it, unchecked.
        media_type: What the client says it is, if it says so.
        chunks: Its bytes. They come from the socket, so they can be read once.
    """

    name: str
    media_type: str | None
    chunks: AsyncIterator[bytes]


async def uploaded_part(request: Request) -> UploadedPart:
    """Read a body up to where its file begins.

    Raises:
        UnsupportedContent: It is no `multipart/form-data`.
        HTTPException: It is malformed, or ends too early.
        InvalidInput: Its first part is not the file.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != _MEDIA_TYPE:
        raise UnsupportedContent("The body must be multipart/form-data.")
    parts = _Parts(options.get(b"boundary", b""), request.stream())
    headers = await parts.next_part()
    if headers is None:
        raise _fault(FIELD, "Field required", "missing")
    disposition = _disposition(headers)
    field = _text(disposition.get(b"name", b""))
    if field != FIELD:
        raise _unknown(field)
    if b"filename" not in disposition:
        raise _fault(FIELD, "A file with a name is required", "file_required")
    media_type = headers.get(b"content-type")
    return UploadedPart(
        name=_text(disposition[b"filename"]),
        media_type=media_type.decode("latin-1") if media_type else None,
        chunks=_only_part(parts),
    )


async def _only_part(parts: "_Parts") -> AsyncIterator[bytes]:
    """Yield the bytes of the part, and refuse a second one."""
    async for chunk in parts.content():
        yield chunk
    if (headers := await parts.next_part()) is not None:
        field = _text(_disposition(headers).get(b"name", b""))
        raise (
            _fault(FIELD, "There must be one file", "too_many")
            if field == FIELD
            else (_unknown(field))
        )


class _Parts:
    """The parts of a body, read as far as somebody asks."""

    def __init__(self, boundary: bytes, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._seen: deque[Headers | bytes | None] = deque()
        self._headers: Headers = {}
        self._name = self._value = b""
        self._ends = False
        if not boundary:
            raise HTTPException(_MALFORMED)
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_to_name,
                    "on_header_value": self._add_to_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise HTTPException(_MALFORMED) from error

    async def next_part(self) -> Headers | None:
        """Return the headers of the next part, or None at the end of the body.

        Raises:
            HTTPException: The body is malformed, or ends too early.
        """
        while not self._seen:
            if not await self._read():
                return None
        # Whoever asks for the next part has read the one before to its end.
        seen = self._seen.popleft()
        return seen if isinstance(seen, dict) else None

    async def content(self) -> AsyncIterator[bytes]:
        """Yield the bytes of this part.

        Raises:
            HTTPException: The body is malformed, or ends too early.
        """
        while True:
            while not self._seen:
                await self._read()
            seen = self._seen.popleft()
            if not isinstance(seen, bytes):
                return
            yield seen

    async def _read(self) -> bool:
        """Take in one more message; tell whether there was one."""
        try:
            async for chunk in self._body:
                self._parser.write(chunk)
                return True
            if not self._ends:
                raise HTTPException(_MALFORMED)
        except FormParserError as error:
            raise HTTPException(_MALFORMED) from error
        return False

    def _begin_part(self) -> None:
        self._headers = {}

    def _add_to_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _end_headers(self) -> None:
        self._seen.append(self._headers)

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._seen.append(data[start:end])

    def _end_part(self) -> None:
        self._seen.append(None)

    def _end(self) -> None:
        self._ends = True


def _disposition(headers: Headers) -> Headers:
    value = headers.get(b"content-disposition", b"").decode("latin-1")
    return parse_options_header(value)[1]


def _text(raw: bytes) -> str:
    """What a client wrote: UTF-8 (RFC 7578 §5.1), whatever else it may be."""
    return raw.decode("utf-8", "replace")


def _unknown(field: str) -> InvalidInput:
    shown = field[:_LONGEST_FIELD_NAME] or FIELD
    return _fault(shown, "Extra inputs are not permitted", "extra_forbidden")


def _fault(field: str, message: str, code: str) -> InvalidInput:
    return InvalidInput(FieldError(f"body.{field}", message, code))
