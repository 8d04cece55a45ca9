"""Downloads from the file store, whole or by range.

Starlette's and baize's `FileResponse` serve ranges of files on disk only.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.core.storage import ByteRange, Content
from app.infrastructure.http.context import is_head, request_context
from app.infrastructure.http.problems import (
    ProblemType,
    Responses,
    document,
    problem_response,
)
from app.infrastructure.http.routes import names_tag

# `int` refuses some thousands of digits.
_RANGE: Final = re.compile(r"bytes=[ \t]*(\d{0,99})-(\d{0,99})[ \t]*", re.ASCII | re.IGNORECASE)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9 !#$&+.^_`|~()\[\]{}@=,-]")

_OUTSIDE: Final = ProblemType(
    416,
    "range_not_satisfiable",
    "Range not satisfiable",
    "The range is outside the content.",
)


class Download(StreamingResponse):
    """Streams content of the store.

    Opened when the response begins, so that an error of the store still has a status, and closed
    when it ends. HEAD does not ask the store.
    """

    def __init__(
        self, opened: Content, *, status_code: int, media_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__((), status_code=status_code, headers=headers)
        # Starlette would add a charset, which is unverified.
        self.headers["Content-Type"] = media_type
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the content and send it."""
        if is_head(scope):
            await Response(status_code=self.status_code, headers=self.headers)(scope, receive, send)
            return
        async with self._opened as (_, chunks):
            self.body_iterator = chunks
            await super().__call__(scope, receive, send)


class RangeNotSatisfiable(Exception):
    """The content, of `size` bytes, has no byte in the range (RFC 9110 §15.5.17)."""

    def __init__(self, size: int) -> None:
        super().__init__(f"The content has {size} bytes.")
        self.size = size

    def response(self, scope: Scope) -> Response:
        """Return the problem response, with the size in a header."""
        request_context(scope).details = {"size": self.size}
        headers = {"Content-Range": f"bytes */{self.size}"}
        return problem_response(scope, _OUTSIDE, detail=str(self), headers=headers)

    @staticmethod
    def documented() -> Responses:
        """Return the documentation of the response."""
        size = {
            "description": "Size of the content (RFC 9110 §14.4).",
            "required": True,
            "schema": {"type": "string", "examples": ["bytes */1024"]},
        }
        responses: Responses = {_OUTSIDE.status: {"headers": {"Content-Range": size}}}
        document(responses, _OUTSIDE, key=_OUTSIDE.status)
        return responses


def requested_range(
    header: str | None, if_range: str | None, etag: str, size: int
) -> ByteRange | None:
    """Return the requested range; `None` for the whole content (RFC 9110 §14).

    Ignores headers other than a single range of bytes, and ranges of another version.

    Raises:
        RangeNotSatisfiable: The range lies outside of the content.
    """
    found = _RANGE.fullmatch(header) if header is not None else None
    if found is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        wanted = ByteRange(max(0, size - int(last)), size - 1)
    else:
        wanted = ByteRange(int(first), min(int(last), size - 1) if last else size - 1)
        if last and int(last) < int(first):
            return None
    if wanted.first >= size:
        raise RangeNotSatisfiable(size)
    return wanted


def is_current(if_none_match: str | None, etag: str) -> bool:
    """Return whether the client has this version (RFC 9110 §13.1.2)."""
    return if_none_match is not None and names_tag(if_none_match, etag, weak=True)


def attachment(name: str) -> str:
    """Return the `Content-Disposition` of an attachment (RFC 6266, RFC 8187).

    Clients without `filename*` get a name in ASCII, without the quotes, backslashes and percent
    signs that they interpret differently.
    """
    plain = _UNSAFE.sub("_", name)
    header = f'attachment; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"
