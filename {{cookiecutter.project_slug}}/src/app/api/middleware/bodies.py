"""Bodies: how large they may come in, and how they go out."""

import re

from starlette.middleware.gzip import GZipResponder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import CLOSE, MALFORMED, TOO_LARGE, BodyTooLarge, problem_response

# Level 9 takes twice the time of level 5 for one percent of the size, on JSON.
_COMPRESSION_LEVEL = 5
# No length has more; `int` takes long over thousands of digits, and then refuses them.
_MOST_DIGITS = 18
_REFUSED = re.compile(rb"q=0(\.0*)?")


class BodyLimit:
    """Holds request bodies to a size (OWASP API4:2023).

    A length that is announced is judged before anything runs, whether or not the route reads; one
    that is not, or is a lie, while the body is read.

    Args:
        app: What reads the bodies.
        max_bytes: The most that is read.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a body that says it is too large, and count what is read of the others."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._max_bytes
        for name, value in scope["headers"]:
            if name == b"content-length":
                if not value.isdigit():
                    await problem_response(scope, MALFORMED)(scope, receive, send)
                    return
                if len(value) > _MOST_DIGITS or int(value) > limit:
                    refusal = problem_response(scope, TOO_LARGE, headers=CLOSE)
                    await refusal(scope, receive, send)
                    return
        read = 0

        async def receive_within_limit() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > limit:
                    raise BodyTooLarge
            return message

        await self.app(scope, receive_within_limit, send)


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

        get = {**scope, "method": "GET"}
        try:
            await self.app(get, receive, send_without_body)
        finally:
            scope.update({key: get[key] for key in ("route", "fastapi") if key in get})


class Compression:
    """Compresses what GET answers, for clients that ask for it.

    What other methods answer is one small thing, and may be a token: next to text that an attacker
    chooses, the size of a compressed secret gives it away (BREACH). Streams are compressed part by
    part, and each part leaves at once; Starlette's list of types that do not gain goes as it is.

    Args:
        app: What makes the responses.
        minimum_size: Bodies of fewer bytes, if they come in one piece, stay as they are.
    """

    def __init__(self, app: ASGIApp, minimum_size: int) -> None:
        self.app = app
        self._minimum_size = minimum_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Compress the response, if that is asked for and pays."""
        if scope["type"] != "http" or scope["method"] != "GET" or not _accepts_gzip(scope):
            await self.app(scope, receive, send)
            return
        start: Message = {}
        gzip: GZipResponder | None = None

        async def send_compressed(message: Message) -> None:
            nonlocal start, gzip
            if gzip is not None:
                await gzip.send_with_compression(message)
            elif message["type"] == "http.response.start":
                start = message
            elif self._is_small(message):
                await send(start)
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


def _accepts_gzip(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            for offer in value.split(b","):
                coding, _, weight = offer.replace(b" ", b"").partition(b";")
                if coding == b"gzip":
                    return _REFUSED.fullmatch(weight) is None
    return False
