"""Bodies: how large they may come in, and how they go out."""

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import suppress

from starlette.middleware.gzip import GZipResponder
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.infrastructure.http.context import as_get
from app.infrastructure.http.problems import (
    ENCODED,
    MALFORMED,
    TOO_LARGE,
    BodyTooLarge,
    problem_response,
)

# Level 9 takes twice the time of level 5 for one percent of the size, on JSON.
_COMPRESSION_LEVEL = 5
# No length has more; `int` takes long over thousands of digits, and then refuses them.
_MOST_DIGITS = 18
_WITHOUT_BODIES = {"GET", "HEAD", "OPTIONS"}
_CLOSE = (b"connection", b"close")
# From one part of a body to the next, and for the whole: much less than an orderly stop may take.
_SECONDS_TO_WAIT = 5
_SECONDS_TO_LINGER = 10
_REFUSED = re.compile(rb"q=0(\.0*)?")


class LingeringClose:
    """Takes, for a while, what a client still sends that has been refused (RFC 9112 §9.6).

    A connection that is closed with bytes on their way is reset, and the answer is lost with it to
    clients that send all before they listen. The answer itself leaves at once.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hold the end of a response back that closes the connection under an unread body."""
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODIES:
            await self.app(scope, receive, send)
            return
        more = True
        closes = False
        lingers = False

        async def receive_and_note() -> Message:
            nonlocal more
            message = await receive()
            more = message.get("more_body", False)
            return message

        async def send_but_the_end(message: Message) -> None:
            nonlocal closes, lingers
            if message["type"] == "http.response.start":
                closes = _CLOSE in message["headers"]
            elif closes and more and not message.get("more_body", False):
                lingers = True
                message = {**message, "more_body": True}
            await send(message)

        await self.app(scope, receive_and_note, send_but_the_end)
        if lingers:
            await _read_rest(receive)
            await send({"type": "http.response.body"})


async def _read_rest(receive: Receive) -> None:
    end = time.monotonic() + _SECONDS_TO_LINGER
    more = True
    with suppress(TimeoutError):
        while more and (left := end - time.monotonic()) > 0:
            async with asyncio.timeout(min(left, _SECONDS_TO_WAIT)):
                more = (await receive()).get("more_body", False)


class BodyLimit:
    """Holds request bodies to a size (OWASP API4:2023), and to what they are without an encoding.

    An encoding or a length that is announced is judged before anything runs, whether or not the
    route reads; a length that is not, or is a lie, while the body is read.

    Args:
        app: What reads the bodies.
        max_bytes: The most that is read.
        of_paths: The same for paths that take more, or less, than others.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int, of_paths: Mapping[str, int] | None = None
    ) -> None:
        self.app = app
        self._max_bytes = max_bytes
        self._of_paths = of_paths or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a body by what is said of it, and count what is read of the others."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        limit = self._of_paths.get(path, self._max_bytes)
        refused = _refusal(scope, limit)
        closes = refused is not None or (path in self._of_paths and _has_body(scope))
        more = True
        read = 0

        async def receive_within_limit() -> Message:
            nonlocal more, read
            message = await receive()
            more = message.get("more_body", False)
            read += len(message.get("body", b""))
            if read > limit:
                raise BodyTooLarge
            return message

        async def send_and_close(message: Message) -> None:
            is_unread = more and (closes or read > limit)
            if is_unread and message["type"] == "http.response.start":
                # The rest would have to be read before the next request: it could be gigabytes.
                message = {**message, "headers": [*message["headers"], _CLOSE]}
            await send(message)

        if refused is not None:
            await refused(scope, receive, send_and_close)
        else:
            may_close = scope["method"] not in _WITHOUT_BODIES
            await self.app(scope, receive_within_limit, send_and_close if may_close else send)


def _refusal(scope: Scope, limit: int) -> Response | None:
    """What a body is answered by what its headers alone say of it."""
    is_encoded = False
    for name, value in scope["headers"]:
        if name == b"content-encoding":
            is_encoded |= value.strip().lower() not in {b"", b"identity"}
        elif name == b"content-length":
            if not value.isdigit():
                return problem_response(scope, MALFORMED)
            if len(value) > _MOST_DIGITS or int(value) > limit:
                return problem_response(scope, TOO_LARGE)
    if is_encoded and _has_body(scope):
        return problem_response(scope, ENCODED, headers={"Accept-Encoding": "identity"})
    return None


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
        for name, value in scope["headers"]
    )


class HeadAsGet:
    """Answers HEAD as GET without the body, wherever there is a GET (RFC 9110 §9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a HEAD as a GET. The server keeps its own scope: it looks there for the method."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        get = as_get(scope)
        try:
            await self.app(get, receive, send_without_body)
        finally:
            scope.update({key: get[key] for key in ("route", "fastapi") if key in get})


class Compression:
    """Compresses what GET answers, for clients that ask for it.

    What other methods answer is one small thing, and may be a token: next to text that an attacker
    chooses, the size of a compressed secret gives it away (BREACH). Streams are compressed part by
    part, and each part leaves at once; Starlette's list of types that do not gain goes as it is.
    `Vary` tells caches that another client may get it in another form (RFC 9110 §12.5.5).

    Args:
        app: What makes the responses.
        minimum_size: Bodies of fewer bytes, if they come in one piece, stay as they are.
    """

    def __init__(self, app: ASGIApp, minimum_size: int) -> None:
        self.app = app
        self._minimum_size = minimum_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Compress the response, if that is asked for and pays."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        is_asked_for = _accepts_gzip(scope)
        start: Message = {}
        gzip: GZipResponder | None = None
        as_it_is = False

        async def send_compressed(message: Message) -> None:
            nonlocal start, gzip, as_it_is
            if message["type"] == "http.response.start":
                start = message
                has_one_form = _comes_in_ranges(message)
                if as_it_is := has_one_form or not is_asked_for:
                    await send(message if has_one_form else _varying(message))
            elif as_it_is:
                await send(message)
            elif gzip is not None:
                await gzip.send_with_compression(message)
            elif self._is_small(message):
                await send(_varying(start))
                await send(message)
            else:
                gzip = GZipResponder(self.app, 0, compresslevel=_COMPRESSION_LEVEL)
                gzip.send = send
                await gzip.send_with_compression(start)
                await gzip.send_with_compression(message)

        await self.app(scope, receive, send_compressed)

    def _is_small(self, message: Message) -> bool:
        return (
            message["type"] == "http.response.body"
            and not message.get("more_body", False)
            and len(message.get("body", b"")) < self._minimum_size
        )


def _comes_in_ranges(start: Message) -> bool:
    """Whether the bytes have numbers by which clients ask for some: they must stay the same."""
    return any(name == b"accept-ranges" for name, _ in start["headers"])


def _varying(start: Message) -> Message:
    """Say that the client was asked what it accepts."""
    return {**start, "headers": [*start["headers"], (b"vary", b"Accept-Encoding")]}


def _accepts_gzip(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            for offer in value.split(b","):
                coding, _, weight = offer.replace(b" ", b"").lower().partition(b";")
                if coding == b"gzip":
                    return _REFUSED.fullmatch(weight) is None
    return False
