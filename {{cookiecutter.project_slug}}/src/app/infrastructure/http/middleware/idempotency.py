"""Store the responses of requests with an `Idempotency-Key`, so that they can be replayed."""

from http import HTTPStatus
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.infrastructure.http.context import Claim, request_context

_STORED: Final = frozenset({b"content-type", b"etag", b"location"})
logger = structlog.stdlib.get_logger(__name__)


class IdempotencyMiddleware:
    """Store the response of each request that has claimed a key, before it is sent.

    By then the transaction of the request is committed. Refusals are stored, too. After a failure
    of the service, or a response that was broken off, the key is free again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or scope["method"] == "GET" or not _has_key(scope):
            await self.app(scope, receive, send)
            return
        context = request_context(scope)
        held: list[Message] = []

        async def hold(message: Message) -> None:
            claim = context.claim
            if claim is None:
                await send(message)
                return
            if message["type"] == "http.response.start":
                held.clear()  # of a response that failed half-way, and that this one replaces
            held.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                context.claim = None
                await _end(scope, claim, held)
                # In order: the start of the response, and then its body.
                for each in held:
                    await send(each)

        try:
            await self.app(scope, receive, hold)
        except Exception:
            await _release(scope)
            raise
        await _release(scope)


async def _release(scope: Scope) -> None:
    """Free the key of a request that has no response, such as one whose client is gone.

    Not that of a cancelled request, whose effect is unknown.
    """
    if (claim := request_context(scope).claim) is not None:
        await _end(scope, claim, [])


async def _end(scope: Scope, claim: Claim, messages: list[Message]) -> None:
    """Store a response or, without one to be stored, free the key; the request has had its effect.

    A failure is logged, and the response is sent all the same.
    """
    try:
        if not messages or messages[0]["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
            await claim.release()
        else:
            start, *body = messages
            headers = [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in start["headers"]
                if name in _STORED
            ]
            content = b"".join(message.get("body", b"") for message in body)
            await claim.keep(start["status"], headers, content)
    except Exception:
        logger.exception("idempotency key not stored", method=scope["method"], path=scope["path"])


def _has_key(scope: Scope) -> bool:
    return any(name == b"idempotency-key" for name, _ in scope["headers"])
