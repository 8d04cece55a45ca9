"""A WebSocket from its opening to its end.

Three things are awaited at once: what the client sends, room for what it is sent, and a reason to
close. None of them holds a connection to the database.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from app.api.schemas.realtime import (
    CLIENT_MESSAGE,
    SERVER_MESSAGE,
    AnnounceMessage,
    ClientMessage,
    PingMessage,
    SayMessage,
    TellMessage,
    WhoMessage,
)
from app.core.config.realtime import RealtimeSettings
from app.core.errors import DomainError, Forbidden, Unauthenticated
from app.domain.realtime import (
    FORBIDDEN,
    INTERNAL,
    MALFORMED,
    TOO_LARGE,
    TOO_MANY_MESSAGES,
    TRY_LATER,
    UNAUTHENTICATED,
    UNSUPPORTED,
    Allowance,
    Ending,
    Fault,
    Message,
    OriginForbidden,
    Pong,
    Roll,
)
from app.domain.users import UserId
from app.infrastructure.http.context import request_context
from app.infrastructure.http.problems import log_broken_off
from app.infrastructure.realtime import Connection
from app.services.realtime import Conversation

_BEARER: Final = "bearer "
_REASON_LENGTH: Final = 123
_DETAIL_LENGTH: Final = 300

_AGED: Final = Ending(UNAUTHENTICATED, "come back with a new ticket")
_FAILED: Final = Ending(INTERNAL, "something went wrong on our side")
_NOT_TEXT: Final = Ending(UNSUPPORTED, "messages are text")
_LARGE: Final = Ending(TOO_LARGE, "the message is too large")
_OFTEN: Final = Ending(TOO_MANY_MESSAGES, "too many messages")
_UNREADABLE: Final = Ending(MALFORMED, "too many messages that can't be read")
_SLOW_DOWN: Final = Fault("too_many_messages", "Wait a little; this message was dropped.")


def bearer_of(socket: WebSocket) -> str | None:
    """Return the token in the `Authorization` header, which programs can send and pages can't."""
    header = socket.headers.get("authorization", "")
    return header[len(_BEARER) :] if header.lower().startswith(_BEARER) else None


def require_origin(socket: WebSocket, origins: list[str]) -> None:
    """Pass if the page that connects is one of ours: browsers let any page try (OWASP, WSTG).

    Programs send no `Origin`, and need no such protection.

    Raises:
        OriginForbidden: It is another's.
    """
    origin = socket.headers.get("origin")
    if origin is None or "*" in origins or origin in origins:
        return
    if urlsplit(origin).netloc.lower() != socket.headers.get("host", "").lower():
        raise OriginForbidden(origin=origin[:_DETAIL_LENGTH])


async def refuse(socket: WebSocket, error: DomainError) -> None:
    """Close a WebSocket that is not let in.

    It is accepted first: of one that is refused before, the client sees a 403 and no code.
    """
    request_context(socket.scope).code = error.code
    await socket.accept()
    await _close(socket, Ending(_code_of(error), error.detail))


async def converse(
    socket: WebSocket,
    connection: Connection,
    conversation: Conversation,
    settings: RealtimeSettings,
) -> None:
    """Keep a connection until it ends, for whatever reason."""
    reading = asyncio.create_task(_read(socket, connection, conversation, settings))
    writing = asyncio.create_task(_write(socket, connection))
    tasks = (reading, writing)
    awaited: set[asyncio.Future[Any]] = {*tasks, connection.ended}
    try:
        await asyncio.wait(
            awaited,
            timeout=settings.life_minutes * 60,
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=settings.close_seconds)
    ending = _reason(socket, connection, reading, writing)
    if ending is not None:
        request_context(socket.scope).facts = {"close_code": ending.code}
        await _close(socket, ending)


def encode(message: Message) -> str:
    """Write a message as clients hear it."""
    shown = SERVER_MESSAGE.validate_python(message, from_attributes=True)
    return SERVER_MESSAGE.dump_json(shown).decode()


class _Refused(Exception):
    """A message is not acted upon.

    Args:
        fault: What the client is told.
        ending: How the connection ends if there are too many of them.
    """

    def __init__(self, fault: Fault, ending: Ending) -> None:
        super().__init__(fault.code)
        self.fault = fault
        self.ending = ending


def _reason(
    socket: WebSocket,
    connection: Connection,
    reading: "asyncio.Task[Ending | None]",
    writing: "asyncio.Task[None]",
) -> Ending | None:
    """Why a connection is to be closed; None if the client has left by itself."""
    if connection.ended.done():
        return connection.ended.result()
    for task in (reading, writing):
        error = None if task.cancelled() else task.exception()
        if isinstance(error, WebSocketDisconnect):
            return None
        if isinstance(error, Exception):
            log_broken_off(socket.scope, error)
            return _FAILED
    return _AGED if reading.cancelled() else reading.result()


async def _write(socket: WebSocket, connection: Connection) -> None:
    """Send what waits, as fast as the client takes it."""
    while True:
        letter = await connection.next()
        await socket.send_text(letter.text(encode))


async def _read(
    socket: WebSocket,
    connection: Connection,
    conversation: Conversation,
    settings: RealtimeSettings,
) -> Ending | None:
    """Act upon what the client sends; return why that ends, or None if the client has left."""
    clock = asyncio.get_running_loop().time
    allowance = Allowance(settings.messages_per_second, settings.burst, clock())
    faults = 0
    while (received := await socket.receive())["type"] == "websocket.receive":
        text: str | None = received.get("text")
        if text is None:
            return _NOT_TEXT
        if len(text.encode()) > settings.max_message_bytes:
            return _LARGE
        try:
            if not allowance.take(clock()):
                raise _Refused(_SLOW_DOWN, _OFTEN)
            await _act(_message(text), connection, conversation)
        except _Refused as refused:
            faults += 1
            if faults > settings.max_faults:
                return refused.ending
            connection.say(refused.fault)
        except DomainError as error:
            connection.say(Fault(error.code, error.detail))
    return None


async def _act(message: ClientMessage, connection: Connection, conversation: Conversation) -> None:
    match message:
        case SayMessage():
            conversation.say(message.text)
        case TellMessage():
            conversation.tell(UserId(message.user_id), message.text)
        case AnnounceMessage():
            conversation.announce(message.text)
        case WhoMessage():
            present = await conversation.present()
            connection.say(Roll(present.members, present.total))
        case PingMessage():
            connection.say(Pong(message.nonce))


def _message(text: str) -> ClientMessage:
    try:
        return CLIENT_MESSAGE.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            fault = Fault("malformed_message", "The message is not valid JSON.")
        elif not first["loc"]:
            fault = Fault("unknown_message", "There is no message of this type.")
        else:
            # The tag that chose the model stands first.
            field = ".".join(map(str, first["loc"][1:]))
            detail = f"{field}: {first['msg']}"[:_DETAIL_LENGTH]
            fault = Fault("invalid_message", detail)
        raise _Refused(fault, _UNREADABLE) from None


def _code_of(error: DomainError) -> int:
    if isinstance(error, Unauthenticated):
        return UNAUTHENTICATED
    if isinstance(error, Forbidden):
        return FORBIDDEN
    return TRY_LATER


async def _close(socket: WebSocket, ending: Ending) -> None:
    """Close a WebSocket; the client may have been faster."""
    reason = ending.reason.encode()[:_REASON_LENGTH].decode(errors="ignore")
    with suppress(WebSocketDisconnect):
        await socket.close(ending.code, reason)
