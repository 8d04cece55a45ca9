"""Answers of requests with an `Idempotency-Key`, kept as they leave."""

from http import HTTPStatus
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.idempotency import Answer, Claim
from app.infrastructure.http.context import request_context
from app.services.ports import IdempotencyStore

_KEPT: Final = frozenset({b"content-type", b"etag", b"location"})
logger = structlog.stdlib.get_logger(__name__)


class KeptAnswers:
    """Keeps the answer of each request that has claimed a key, before the client gets it.

    By then the request's transaction is committed: that comes before the response. A refusal is
    kept, too. An answer that says that the service has failed is not, and neither is one that
    breaks off: the key is free again.

    Args:
        app: What makes the responses.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request; keep what it answers if it has claimed a key."""
        if scope["type"] != "http" or scope["method"] == "GET" or not _has_key(scope):
            await self.app(scope, receive, send)
            return
        held: list[Message] = []

        async def hold(message: Message) -> None:
            claim = request_context(scope).claim
            if claim is None:
                await send(message)
                return
            if message["type"] == "http.response.start":
                held.clear()  # of an answer that failed half-way, and that this one replaces
            held.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                request_context(scope).claim = None
                await _end(_store(scope), claim, _answer(held))
                # In order: the head of the answer, and then its body.
                for each in held:
                    await send(each)

        try:
            await self.app(scope, receive, hold)
        except Exception:
            await _give_free(scope)
            raise
        await _give_free(scope)


async def _give_free(scope: Scope) -> None:
    """Give the key free of a request that was not answered, such as one whose client is gone.

    Not that of a request that was cancelled: whether it had its effect is not known.
    """
    if (claim := request_context(scope).claim) is not None:
        await _end(_store(scope), claim, None)


async def _end(store: IdempotencyStore, claim: Claim, answer: Answer | None) -> None:
    """Keep an answer or, where there is none to be kept, give the key free.

    The request has had its effect: that nobody will know of it is no reason not to answer.
    """
    try:
        if answer is None or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            await store.release(claim)
        else:
            await store.keep(claim, answer)
    except Exception:
        logger.exception("an idempotency key could not be ended", operation=claim.key.operation)


def _answer(messages: list[Message]) -> Answer:
    start, *body = messages
    return Answer(
        start["status"],
        tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in start["headers"]
            if name in _KEPT
        ),
        b"".join(message.get("body", b"") for message in body),
    )


def _has_key(scope: Scope) -> bool:
    return any(name == b"idempotency-key" for name, _ in scope["headers"])


def _store(scope: Scope) -> IdempotencyStore:
    store: IdempotencyStore = scope["app"].state.resources.state.idempotency
    return store
