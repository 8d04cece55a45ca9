"""Limits for request bodies, and compression of responses."""

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipResponder
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.config import HttpSettings
from app.core.errors import FieldError, InvalidInput
from app.infrastructure.http.problems import (
    ENCODED,
    MALFORMED,
    TOO_LARGE,
    UNKNOWN_CODING,
    ProblemType,
    problem_response,
    problem_type,
)

# Level 9 takes twice the time of level 5 for one percent of the size, on JSON.
_COMPRESSION_LEVEL: Final = 5
_COMPRESSION_BYTES: Final = 1024
# No length has more digits, and `int` is slow with thousands of them.
_MAX_DIGITS: Final = 18
_CLOSE: Final = (b"connection", b"close")
_DRAIN_SECONDS: Final = 5
_MAX_JSON_VALUES: Final = 10_000
_MAX_PARAMETERS: Final = 1000  # as many fields as Starlette accepts in a form
_TOO_MANY_PARAMETERS: Final = FieldError(
    "query", f"There are more than {_MAX_PARAMETERS} parameters", "too_many_parameters"
)
# Matches an unterminated string, too: searching for the end of each would take quadratic time.
_JSON_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.?)*+(?:"|\Z)', re.DOTALL)


class BodyLimit:
    """Limit request bodies and query parameters (OWASP API4:2023), and refuse encoded bodies.

    A body must arrive at a minimum speed. JSON values and parameters are counted, because each
    costs far more to validate than to receive.

    Bodies are refused by their headers before anything runs, or by their size while they are read.
    The connection is then closed, since the rest could be gigabytes. Some of it is read first:
    closing with unread bytes resets the connection, and the response is lost (RFC 9112 §9.6).
    """

    def __init__(
        self, app: ASGIApp, settings: HttpSettings, of_paths: Mapping[str, int] | None = None
    ) -> None:
        self.app = app
        self._settings = settings
        self._of_paths = of_paths or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or (
            scope["method"] == "GET" and not _has_body(scope) and not _has_many_parameters(scope)
        ):
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        limit = self._of_paths.get(path, self._settings.max_body_bytes)
        refusal = _refusal(scope, limit)
        # A body that may be large is not read just to keep the connection.
        closes = refusal is not None or (path in self._of_paths and _has_body(scope))
        # Bodies with a limit of their own are streamed, not collected.
        is_json = path not in self._of_paths and _is_json(scope)
        chunks: list[bytes] = []
        closing = False
        body = _Body(receive, self._settings)

        async def receive_limited() -> Message:
            message = await body.receive()
            if body.read > limit:
                # FastAPI treats any other exception raised while reading as a malformed body.
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            if is_json:
                chunks.append(message.get("body", b""))
                if not body.more and _json_values(b"".join(chunks)) > _MAX_JSON_VALUES:
                    raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return message

        async def send_and_drain(message: Message) -> None:
            nonlocal closing
            if message["type"] == "http.response.start":
                is_late = message["status"] == HTTPStatus.REQUEST_TIMEOUT
                closing = body.more and (closes or is_late or body.read > limit)
                if closing:
                    message = {**message, "headers": [*message["headers"], _CLOSE]}
            elif closing and body.more and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await _drain(body)
                message = {"type": "http.response.body"}
            await send(message)

        app = self.app if refusal is None else refusal
        await app(scope, receive_limited, send_and_drain)


class _Body:
    """A body that must arrive at a minimum speed; time between two calls does not count."""

    def __init__(self, receive: Receive, settings: HttpSettings) -> None:
        self._receive = receive
        self._settings = settings
        self._waited = 0.0
        self.more = True
        self.read = 0

    async def receive(self) -> Message:
        """Receive a message; raise a 408 if the client is too slow."""
        if not self.more:
            return await self._receive()
        started = time.monotonic()
        in_time = self._settings.grace_seconds + self.read / self._settings.min_bytes_per_second
        try:
            async with asyncio.timeout(in_time - self._waited):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT) from None
        self._waited += time.monotonic() - started
        self.more = message.get("more_body", False)
        self.read += len(message.get("body", b""))
        return message


def _json_values(body: bytes) -> int:
    """Estimate the number of values; commas in strings count unless there are many."""
    values = sum(map(body.count, (b",", b"[", b"{")))
    # A body with NUL is not UTF-8: a quote byte need not be a quote.
    if values > _MAX_JSON_VALUES and b"\0" not in body:
        values = sum(map(_JSON_STRING.sub(b"", body).count, (b",", b"[", b"{")))
    return values


def _has_many_parameters(scope: Scope) -> bool:
    return bool(scope["query_string"].count(b"&") >= _MAX_PARAMETERS)


def _is_json(scope: Scope) -> bool:
    return any(
        name == b"content-type" and b"json" in value.lower() for name, value in scope["headers"]
    )


async def _drain(body: _Body) -> None:
    with suppress(TimeoutError, HTTPException):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while body.more:
                await body.receive()


def _coding_fault(scope: Scope, value: bytes) -> ProblemType | None:
    """Return the problem with a `Transfer-Encoding`, if any (RFC 9112 §6.1)."""
    if scope["http_version"] == "1.0":
        return MALFORMED
    return None if value.strip().lower() == b"chunked" else UNKNOWN_CODING


def _refusal(scope: Scope, limit: int) -> Response | None:
    """Return the refusal of a body by its headers, or of too many parameters."""
    if _has_many_parameters(scope):
        return problem_response(scope, problem_type(InvalidInput), errors=[_TOO_MANY_PARAMETERS])
    is_encoded = False
    for name, value in scope["headers"]:
        if name == b"content-encoding":
            is_encoded |= value.strip().lower() not in {b"", b"identity"}
        elif name == b"transfer-encoding" and (problem := _coding_fault(scope, value)):
            return problem_response(scope, problem)
        elif name == b"content-length":
            if not value.isdigit():
                return problem_response(scope, MALFORMED)
            if len(value) > _MAX_DIGITS or int(value) > limit:
                return problem_response(scope, TOO_LARGE)
    if is_encoded and _has_body(scope):
        return problem_response(scope, ENCODED, headers={"Accept-Encoding": "identity"})
    return None


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
        for name, value in scope["headers"]
    )


class Compression:
    """Compress responses to GET for clients that accept gzip.

    Responses to other methods may contain a token, which their compressed size reveals if an
    attacker chooses the text beside it (BREACH). Streams are compressed chunk by chunk. Responses
    that support ranges stay as they are, as do the types that Starlette excludes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or scope["method"] != "GET" or not _accepts_gzip(scope):
            await self.app(scope, receive, send)
            return
        gzip: GZipResponder | None = None

        async def send_compressed(message: Message) -> None:
            nonlocal gzip
            if message["type"] == "http.response.start" and _is_worthwhile(message):
                gzip = GZipResponder(self.app, 0, compresslevel=_COMPRESSION_LEVEL)
                gzip.send = send
            await (send if gzip is None else gzip.send_with_compression)(message)

        await self.app(scope, receive, send_compressed)


def _is_worthwhile(start: Message) -> bool:
    headers: dict[bytes, bytes] = dict(start["headers"])
    size = int(headers.get(b"content-length", _COMPRESSION_BYTES))
    return size >= _COMPRESSION_BYTES and b"accept-ranges" not in headers


def _accepts_gzip(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            for offer in value.split(b","):
                coding, _, weight = offer.replace(b" ", b"").lower().partition(b";")
                if coding == b"gzip":
                    return not weight or bool(weight.strip(b"q=0."))
    return False
