"""The id of a request, the time it takes, and its one line in the log."""

import time
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, unbind_contextvars

from app.infrastructure.database.statistics import DatabaseStatistics, measure
from app.infrastructure.http.context import RequestContext, begin, route_template

logger = structlog.stdlib.get_logger("app.access")

_IF_KNOWN: Final = ("user_id", "session_id", "api_key_id", "code")
_OURS: Final = frozenset(
    {"database_ms", "duration_ms", "event", "route", "statements", "status", *_IF_KNOWN}
)
"""What no client has a say in: neither its words nor the names of these fields can be secret."""


class RequestLog:
    """Gives each request its context, each response `X-Request-ID` and `X-Process-Time`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request with its id bound to every line that is logged meanwhile."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        context = begin(scope)
        bind_contextvars(request_id=context.request_id)

        async def send_with_id(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.start":
                context.status = message["status"]
                seconds = time.perf_counter() - started
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", context.request_id.encode()),
                    (b"x-process-time", b"%.6f" % seconds),
                ]
            elif kind.endswith(".accept"):
                context.status = 101
                request_id = (b"x-request-id", context.request_id.encode())
                message["headers"] = [*message.get("headers", ()), request_id]
            await send(message)

        try:
            with measure() as statistics:
                await self.app(scope, receive, send_with_id)
        finally:
            _log(scope, context, time.perf_counter() - started, statistics)
            unbind_contextvars("request_id", "user_id")


def _log(
    scope: Scope, context: RequestContext, seconds: float, statistics: DatabaseStatistics
) -> None:
    line: dict[str, object] = {
        "method": scope.get("method", scope["type"].upper()),
        "route": route_template(scope),
        "status": context.status,
        "duration_ms": round(seconds * 1000, 3),
        "request_id": context.request_id,
        "client": scope["client"][0] if scope.get("client") else None,
    }
    if statistics.statements:
        line["statements"] = statistics.statements
        line["database_ms"] = round(statistics.seconds * 1000, 3)
    for name in _IF_KNOWN:
        if (known := getattr(context, name)) is not None:
            line[name] = known
    if context.facts:
        line["facts"] = context.facts
    logger.info("request", **line, vouched=_OURS)
