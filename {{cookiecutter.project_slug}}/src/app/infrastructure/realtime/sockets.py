"""A WebSocket from its opening to its end.

Three things are awaited at once: messages from the client, room to send, and a reason to close.
None of them holds a database connection.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter
from fastapi.params import Depends
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.core.config.realtime import RealtimeSettings
from app.core.errors import DomainError, Forbidden, Unauthenticated
from app.infrastructure.http.context import request_context
from app.infrastructure.http.handlers import log_broken_off
from app.infrastructure.http.routes import FeatureRouter
from app.infrastructure.realtime.connections import (
    FORBIDDEN,
    INTERNAL,
    MALFORMED,
    TOO_LARGE,
    TOO_MANY_MESSAGES,
    TRY_LATER,
    UNAUTHENTICATED,
    UNSUPPORTED,
    Close,
    Connection,
)
from app.infrastructure.realtime.hub import Hub
from app.infrastructure.realtime.messages import ClientMessage, ErrorMessage
from app.infrastructure.realtime.registry import Messages

_BEARER: Final = "bearer "
_REASON_LENGTH: Final = 123
_DETAIL_LENGTH: Final = 300
_SECONDS_TO_CLOSE: Final = 5.0

_EXPIRED: Final = Close(UNAUTHENTICATED, "reconnect with a new ticket")
_FAILED: Final = Close(INTERNAL, "internal error")
_NOT_TEXT: Final = Close(UNSUPPORTED, "messages must be text")
_LARGE: Final = Close(TOO_LARGE, "message too large")
_TOO_MANY: Final = Close(TOO_MANY_MESSAGES, "too many messages")
_UNREADABLE: Final = Close(MALFORMED, "too many invalid messages")


class OriginForbidden(Forbidden):
    """A page of another site has opened the connection."""

    code = "origin_forbidden"
    title = "Origin not permitted"


class SocketRouter(FeatureRouter):
    """The routes of a feature with WebSockets."""

    def add_api_websocket_route(
        self,
        path: str,
        endpoint: Callable[..., Any],
        name: str | None = None,
        *,
        dependencies: Sequence[Depends] | None = None,
    ) -> None:
        """Declare a WebSocket; the decorator calls this."""

        def add(router: APIRouter, prefix: str, common: list[Depends]) -> None:
            router.add_api_websocket_route(
                f"{prefix}{self.prefix}{path}",
                endpoint,
                name,
                dependencies=[*common, *(dependencies or ())],
            )

        self._additions.append(add)


class RateMeter:
    """Allows `burst` messages at once, and `rate` messages per second."""

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._left = float(burst)
        self._since = now

    def allows(self, now: float) -> bool:
        """Count a message; return whether it is allowed."""
        self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def bearer_of(socket: WebSocket) -> str | None:
    """Return the bearer token, which programs can send and pages can't."""
    header = socket.headers.get("authorization", "")
    return header[len(_BEARER) :] if header.lower().startswith(_BEARER) else None


def require_origin(socket: WebSocket, origins: list[str]) -> None:
    """Require a page of our own: browsers let any page connect (OWASP, WSTG-CLNT-10).

    Programs send no `Origin`.

    Raises:
        OriginForbidden: The page is another site's.
    """
    origin = socket.headers.get("origin")
    if origin is None or "*" in origins or origin in origins:
        return
    # Not by `urlsplit`, which raises at `http://[`.
    _, _, host = origin.lower().partition("://")
    if not host or host != socket.headers.get("host", "").lower():
        raise OriginForbidden(origin=origin[:_DETAIL_LENGTH])


async def accept(socket: WebSocket) -> None:
    """Accept a WebSocket, with the request ID in the response."""
    context = request_context(socket.scope)
    context.status = HTTPStatus.SWITCHING_PROTOCOLS
    await socket.accept(headers=[(b"x-request-id", context.request_id.encode())])


async def refuse(socket: WebSocket, error: DomainError) -> None:
    """Accept and close a WebSocket: unaccepted, the client would see a 403 without a code."""
    request_context(socket.scope).code = error.code
    await accept(socket)
    code = TRY_LATER
    if isinstance(error, Unauthenticated):
        code = UNAUTHENTICATED
    elif isinstance(error, Forbidden):
        code = FORBIDDEN
    await _close(socket, Close(code, error.detail))


async def serve(
    socket: WebSocket,
    connection: Connection,
    hub: Hub,
    messages: Messages,
    settings: RealtimeSettings,
) -> None:
    """Serve an accepted WebSocket until it ends."""
    reading = asyncio.create_task(_read(socket, connection, hub, messages, settings))
    writing = asyncio.create_task(_write(socket, connection))
    tasks = (reading, writing)
    awaited: set[asyncio.Future[Any]] = {*tasks, connection.closed}
    try:
        await asyncio.wait(
            awaited, timeout=settings.life_minutes * 60, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_SECONDS_TO_CLOSE)
    close = _reason(socket, connection, reading, writing)
    if close is not None:
        request_context(socket.scope).details = {"close_code": close.code}
        await _close(socket, close)


class _Rejected(Exception):
    """A rejected message: the client gets an error, and is disconnected after too many."""

    def __init__(self, code: str, detail: str, close: Close) -> None:
        super().__init__(code)
        self.message = ErrorMessage(code=code, detail=detail)
        self.close = close


def _reason(
    socket: WebSocket,
    connection: Connection,
    reading: "asyncio.Task[Close | None]",
    writing: "asyncio.Task[None]",
) -> Close | None:
    """Return the reason to close; `None` if the client has left."""
    if connection.closed.done():
        return connection.closed.result()
    for task in (reading, writing):
        error = None if task.cancelled() else task.exception()
        if isinstance(error, WebSocketDisconnect):
            return None
        if isinstance(error, Exception):
            log_broken_off(socket.scope, error)
            return _FAILED
    return _EXPIRED if reading.cancelled() else reading.result()


async def _write(socket: WebSocket, connection: Connection) -> None:
    """Send queued messages, as fast as the client reads."""
    while True:
        await socket.send_text(await connection.next())


async def _read(
    socket: WebSocket,
    connection: Connection,
    hub: Hub,
    messages: Messages,
    settings: RealtimeSettings,
) -> Close | None:
    """Handle messages; return a reason to close, or `None` if the client has left."""
    clock = asyncio.get_running_loop().time
    meter = RateMeter(settings.messages_per_second, settings.burst, clock())
    faults = 0
    while (received := await socket.receive())["type"] == "websocket.receive":
        text: str | None = received.get("text")
        if text is None:
            return _NOT_TEXT
        if len(text.encode()) > settings.max_message_bytes:
            return _LARGE
        try:
            if not meter.allows(clock()):
                detail = "Message dropped: you are sending too fast."
                raise _Rejected("too_many_messages", detail, _TOO_MANY)
            await messages.handle(_parse(text, messages), connection, hub)
        except _Rejected as rejected:
            faults += 1
            if faults > settings.max_faults:
                return rejected.close
            connection.send(rejected.message)
        except DomainError as error:
            connection.send(ErrorMessage(code=error.code, detail=error.detail))
    return None


def _parse(text: str, messages: Messages) -> ClientMessage:
    try:
        return messages.parse(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        code, detail = "invalid_message", ""
        if first["type"] == "json_invalid":
            code, detail = "malformed_message", "The message is not valid JSON."
        elif not first["loc"]:
            code, detail = "unknown_message", "Unknown message type."
        else:
            # The location starts with the tag that chose the model.
            field = ".".join(map(str, first["loc"][1:]))
            detail = f"{field}: {first['msg']}"[:_DETAIL_LENGTH]
        raise _Rejected(code, detail, _UNREADABLE) from None


async def _close(socket: WebSocket, close: Close) -> None:
    """Close a WebSocket, unless the client has."""
    reason = close.reason.encode()[:_REASON_LENGTH].decode(errors="ignore")
    with suppress(WebSocketDisconnect):
        await socket.close(close.code, reason)
