"""The outermost and the innermost layer: what each response has, and unexpected errors."""

import time
from collections.abc import Iterable
from http import HTTPStatus

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from app.core.logging import LoggedError
from app.infrastructure.database.statistics import DatabaseStatistics, statistics
from app.infrastructure.http.context import (
    HEAD,
    RequestContext,
    request_context,
    route_template,
)
from app.infrastructure.http.handlers import log_broken_off, unexpected_response
from app.infrastructure.http.openapi import DOCS_PATH, REDOC_PATH
from app.infrastructure.limits import Quota

logger = structlog.stdlib.get_logger("app.access")

RawHeader = tuple[bytes, bytes]

# The OWASP REST Security cheat sheet: what browsers heed on every response, and what only matters
# on one that they render. JSON goes without the latter (docs/adr/0012-response-headers.md).
_ALWAYS: list[RawHeader] = [(b"x-content-type-options", b"nosniff")]
_RENDERED: list[RawHeader] = [
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_JSON_CSP = b"frame-ancestors 'none'"
_DEFAULT_CSP = b"default-src 'none'; frame-ancestors 'none'"
_DOCS_CSP = (
    b"default-src 'none'; "
    b"script-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"style-src 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    b"font-src https://fonts.gstatic.com; "
    b"img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly; "
    b"connect-src 'self'; worker-src blob:; form-action 'self'; base-uri 'none'; "
    b"frame-ancestors 'none'"
)
# Responses may hold tokens and personal data: a route that may be cached says so.
_NO_STORE: RawHeader = (b"cache-control", b"no-store")
_JSON = (b"application/json", b"application/problem+json")


class RequestMiddleware:
    """Assign the request ID, complete the response headers, and write the access log.

    HEAD is routed as GET; the server drops the body (RFC 9110 §9.3.2).

    Args:
        app: The next layer.
        hsts_seconds: How long browsers insist on HTTPS (RFC 6797); 0 for no header.
    """

    def __init__(self, app: ASGIApp, hsts_seconds: int = 0) -> None:
        self.app = app
        always = [*_ALWAYS]
        if hsts_seconds:
            value = b"max-age=%d; includeSubDomains" % hsts_seconds
            always.append((b"strict-transport-security", value))
        csp = b"content-security-policy"
        self._json = [*always, (csp, _JSON_CSP)]
        self._other = [*always, *_RENDERED, (csp, _DEFAULT_CSP)]
        self._docs = [*always, *_RENDERED, (csp, _DOCS_CSP)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, with its ID bound to every log line."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        context = request_context(scope)
        bind_contextvars(request_id=context.request_id)
        database = DatabaseStatistics()
        token = statistics.set(database)
        routed = scope
        if scope.get("method") == "HEAD":
            routed = {**scope, "method": "GET", HEAD: True}

        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                headers = self._completed(message, scope["path"], context)
                seconds = time.perf_counter() - started
                headers.append((b"x-process-time", b"%.6f" % seconds))
                message["headers"] = headers
            await send(message)

        try:
            await self.app(routed, receive, send_completed)
        finally:
            _log(scope, route_template(routed), context, time.perf_counter() - started, database)
            statistics.reset(token)
            clear_contextvars()

    def _completed(self, message: Message, path: str, context: RequestContext) -> list[RawHeader]:
        headers: list[RawHeader] = []
        media_type = b""
        is_cacheable = False
        for header in message.get("headers", ()):
            if header[0] == b"content-type":
                if message["status"] == HTTPStatus.NO_CONTENT:
                    continue
                media_type = header[1]
            elif header[0] == b"cache-control":
                is_cacheable = True
            headers.append(header)
        if not media_type or media_type.startswith(_JSON):
            headers += self._json
        else:
            headers += self._docs if path.startswith((DOCS_PATH, REDOC_PATH)) else self._other
        if not is_cacheable:
            headers.append(_NO_STORE)
        if context.quotas:
            headers += rate_limit_headers(context.quotas)
        headers.append((b"x-request-id", context.request_id.encode()))
        return headers


def _log(
    scope: Scope,
    route: str | None,
    context: RequestContext,
    seconds: float,
    database: DatabaseStatistics,
) -> None:
    client = scope.get("client")
    line: dict[str, object] = {
        "method": scope.get("method") or scope["type"].upper(),
        "route": route,
        "status": context.status,
        "duration_ms": round(seconds * 1000, 3),
        "client": client[0] if client else None,
    }
    if database.statements:
        line["statements"] = database.statements
        line["database_ms"] = round(database.seconds * 1000, 3)
    if context.code is not None:
        line["code"] = context.code
    if context.facts:
        line["facts"] = context.facts
    logger.info("request", **line)


def rate_limit_headers(quotas: Iterable[Quota]) -> list[RawHeader]:
    """Return `RateLimit` and, with a refusal, `RateLimit-Policy`.

    They are lists of structured fields (draft-ietf-httpapi-ratelimit-headers-10, RFC 9651): the
    name of a policy with the remaining requests `r` and the seconds `t` until there are more; the
    quota `q` of a window of `w` seconds.
    """
    left = ", ".join(f'"{q.policy}";r={q.remaining};t={q.reset_after}' for q in quotas)
    headers = [(b"ratelimit", left.encode())]
    if not all(q.allowed for q in quotas):
        policies = ", ".join(f'"{q.policy}";q={q.limit};w={q.window}' for q in quotas)
        headers.append((b"ratelimit-policy", policies.encode()))
    return headers


class ErrorBoundary:
    """Log unexpected errors and answer them with a 500 that has no details."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request.

        Raises:
            LoggedError: The response has started. The server then closes the connection, so that
                the client notices.
        """
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            return
        except Exception as error:
            if scope["type"] == "lifespan":
                raise
            if scope["type"] != "http" or request_context(scope).status is not None:
                log_broken_off(scope, error)
                raise LoggedError(type(error).__name__) from error
            await unexpected_response(scope, error)(scope, receive, send)
