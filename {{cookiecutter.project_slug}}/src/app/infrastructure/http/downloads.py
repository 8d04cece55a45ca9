"""Content as it goes out: whole, in part, and under a name that can't do harm."""

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
    "The range lies outside of the content",
    "The range lies outside of the content.",
)


class Download(StreamingResponse):
    """Sends what a store gives.

    The store is asked when the response begins, so that its refusal can still be answered with a
    status, and let go of when it ends, however it ends. HEAD asks it for nothing.
    """

    def __init__(
        self, opened: Content, *, status_code: int, media_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__((), status_code=status_code, headers=headers)
        # As it was found to be: no charset is added that nobody has looked for.
        self.headers["Content-Type"] = media_type
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        if is_head(scope):
            await Response(status_code=self.status_code, headers=self.headers)(scope, receive, send)
            return
        async with self._opened as (_, chunks):
            self.body_iterator = chunks
            await super().__call__(scope, receive, send)


class RangeNotSatisfiable(Exception):
    """No byte of what was asked for exists (RFC 9110 §15.5.17).

    Attributes:
        size: How many bytes there are.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"There are {size} bytes.")
        self.size = size

    def response(self, scope: Scope) -> Response:
        """Return the answer, which says how many bytes there are."""
        request_context(scope).facts = {"size": self.size}
        headers = {"Content-Range": f"bytes */{self.size}"}
        return problem_response(scope, _OUTSIDE, detail=str(self), headers=headers)

    @staticmethod
    def documented() -> Responses:
        """Document an operation that may give this answer."""
        size = {
            "description": "How many bytes there are (RFC 9110 §14.4).",
            "required": True,
            "schema": {"type": "string", "examples": ["bytes */1024"]},
        }
        responses: Responses = {_OUTSIDE.status: {"headers": {"Content-Range": size}}}
        document(responses, _OUTSIDE, key=_OUTSIDE.status)
        return responses


def requested_range(
    header: str | None, if_range: str | None, etag: str, size: int
) -> ByteRange | None:
    """Return the bytes that are asked for; None stands for all of them (RFC 9110 §14).

    What is no single range of bytes is as if it weren't there, and so is a range that is meant for
    another version.

    Args:
        header: The `Range` header.
        if_range: The `If-Range` header.
        etag: The entity tag of what there is.
        size: How many bytes there are.

    Raises:
        RangeNotSatisfiable: None of them exists.
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
    """Tell whether the client has this version already (RFC 9110 §13.1.2)."""
    return if_none_match is not None and names_tag(if_none_match, etag, weak=True)


def attachment(name: str) -> str:
    """Return the `Content-Disposition` of a file that is to be saved (RFC 6266, RFC 8187).

    Those who don't know `filename*` get a name in ASCII, in which neither quotes nor backslashes
    nor percent signs are left to be understood in different ways.
    """
    plain = _UNSAFE.sub("_", name)
    header = f'attachment; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"
