"""The middleware of every request, as plain ASGI (rule MID01)."""

import re
import time
from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus

import structlog
from prometheus_client import CollectorRegistry
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.utils import ClientDisconnected

from app.core.config import HttpSettings
from app.core.logging import ACCESS_LOG, LoggedError
from app.infrastructure.database.statistics import DatabaseStatistics, statistics
from app.infrastructure.events import request_events
from app.infrastructure.http import metrics
from app.infrastructure.http.bodies import BodyLimit, Compression
from app.infrastructure.http.context import (
    HEAD,
    RequestContext,
    request_context,
    route_template,
)
from app.infrastructure.http.handlers import log_broken_off, unexpected_response
from app.infrastructure.http.problems import (
    CORS_REFUSED,
    HOST_MISSING,
    INVALID_HOST,
    PATH_NOT_FOUND,
    REPEATED,
    UNKNOWN_VERSION,
    instance_of,
    problem_response,
)
from app.infrastructure.limits import Quota

logger = structlog.stdlib.get_logger(ACCESS_LOG)

RawHeader = tuple[bytes, bytes]

# Headers of the OWASP REST Security cheat sheet: for every response, and for those that browsers
# render, unlike JSON (docs/adr/0012-response-headers.md).
_ALWAYS: list[RawHeader] = [(b"x-content-type-options", b"nosniff")]
_RENDERED: list[RawHeader] = [
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_CSP: RawHeader = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'",
)
# Responses may contain tokens and personal data: routes that may be cached set `Cache-Control`.
# Caches store responses with other statuses only if a header allows it (RFC 9110 §15.1).
_STORED_BY_DEFAULT = frozenset({200, 203, 204, 206, 300, 301, 304, 308, 404, 405, 410, 414, 501})
_NO_STORE: RawHeader = (b"cache-control", b"no-store")
_JSON = (b"application/json", b"application/problem+json")
# Orchestrators call these by address; their responses do not depend on the host.
_PROBES = frozenset({"/health", "/live", "/ready"})

# If one is repeated, servers and proxies differ in which they use (RFC 9110 §5.3).
_SINGLETONS = frozenset(
    {
        b"authorization",
        b"content-type",
        b"device-token",
        b"host",
        b"if-match",
        b"if-none-match",
        b"if-range",
        b"origin",
        b"range",
    }
)
# `$` in a route's pattern also matches before a final line break, and `*` is not a path.
_PATH = re.compile(r"/[^\x00-\x1f\x7f]*")

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = (
    "Authorization",
    "Device-Token",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "Range",
    "X-Request-ID",
)
"""Headers that pages of other origins may send."""

RESPONSE_HEADERS = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Process-Time",
    "X-Request-ID",
)
"""Headers that pages of other origins may read."""


def middleware(
    settings: HttpSettings,
    *,
    cors_origins: Collection[str] = (),
    production: bool = False,
    registry: CollectorRegistry | None = None,
    body_limits: Mapping[str, int] | None = None,
) -> list[Middleware]:
    """Return the layers, outermost first.

    Args:
        settings: Hosts, proxies and limits.
        cors_origins: Origins whose pages may call the service.
        production: Whether to send `Strict-Transport-Security`.
        registry: Counts requests.
        body_limits: Size limits by path, in place of the general one.
    """
    hsts_seconds = settings.hsts_seconds if production else 0
    layers = [
        # First, so that all others see the client instead of the proxy.
        Middleware(ProxyHeadersMiddleware, trusted_hosts=settings.forwarded_allow_ips),
        # Around everything that responds: each response gets headers and a log line.
        Middleware(RequestMiddleware, hsts_seconds=hsts_seconds),
    ]
    if registry is not None:
        layers.append(metrics.middleware(registry))
    if "*" not in settings.trusted_hosts:
        layers.append(Middleware(TrustedHosts, hosts=settings.trusted_hosts))
    if cors_origins:
        # Around everything that fails: pages can't read an error without CORS headers.
        layers.append(
            Middleware(
                Cors,
                origins=cors_origins,
                allow_credentials=settings.cors_allow_credentials,
            )
        )
    return [
        *layers,
        Middleware(UnambiguousRequests),
        # Before anything reads the body.
        Middleware(BodyLimit, settings=settings, of_paths=body_limits),
        Middleware(Compression),
        # Last: its response passes through all others.
        Middleware(ErrorBoundary),
    ]


class RequestMiddleware:
    """Assign the request ID, complete the response headers, and write the access log.

    HEAD is routed as GET; the server drops the body (RFC 9110 §9.3.2).
    """

    def __init__(self, app: ASGIApp, hsts_seconds: int = 0) -> None:
        self.app = app
        self._always = [*_ALWAYS]
        if hsts_seconds:
            value = b"max-age=%d; includeSubDomains" % hsts_seconds
            self._always.append((b"strict-transport-security", value))

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
        if scope["type"] == "http":
            request_events.set(context.events)
        routed = scope
        if scope.get("method") == "HEAD":
            routed = {**scope, "method": "GET", HEAD: True}

        async def send_completed(message: Message) -> None:
            if message["type"].endswith("http.response.start"):
                context.status = message["status"]
            if message["type"] == "http.response.start":
                headers = self._completed(message, context)
                seconds = time.perf_counter() - started
                headers.append((b"x-process-time", b"%.6f" % seconds))
                message["headers"] = headers
            await send(message)

        try:
            await self.app(routed, receive, send_completed)
        finally:
            for action in context.on_end:
                action()
            _log(scope, route_template(routed), context, time.perf_counter() - started, database)
            context.events.is_logged = True
            statistics.reset(token)
            clear_contextvars()

    def _completed(self, message: Message, context: RequestContext) -> list[RawHeader]:
        headers = [*self._always]
        media_type = b""
        needs_no_store = message["status"] in _STORED_BY_DEFAULT
        for header in message.get("headers", ()):
            if header[0] == b"content-type":
                if message["status"] == HTTPStatus.NO_CONTENT:
                    continue
                media_type = header[1]
            elif header[0] == b"cache-control":
                needs_no_store = False
            headers.append(header)
        if media_type and not media_type.startswith(_JSON):
            headers += _RENDERED
            if not any(name == _CSP[0] for name, _ in headers):
                headers.append(_CSP)
        if needs_no_store:
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
    # An `HTTPStatus` would be logged by its name.
    status = None if context.status is None else int(context.status)
    line: dict[str, object] = {
        "method": scope.get("method") or scope["type"].upper(),
        "route": route,
        "status": status,
        "duration_ms": round(seconds * 1000, 3),
        "client": client[0] if client else None,
    }
    if route is None or status is None or status >= HTTPStatus.BAD_REQUEST:
        line["path"] = instance_of(scope)
    if database.statements:
        line["statements"] = database.statements
        line["database_ms"] = round(database.seconds * 1000, 3)
    if context.code is not None:
        line["code"] = context.code
    if context.details:
        line["details"] = context.details
    if context.events.events:
        line["events"] = context.events.events
    logger.info("request", **line)


def rate_limit_headers(quotas: Iterable[Quota]) -> list[RawHeader]:
    """Return `RateLimit` and, for a refusal, `RateLimit-Policy`.

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
        except (ClientDisconnect, ClientDisconnected):
            return
        except Exception as error:
            if scope["type"] == "lifespan":
                raise
            if scope["type"] != "http" or request_context(scope).status is not None:
                log_broken_off(scope, error)
                raise LoggedError(type(error).__name__) from error
            await unexpected_response(scope, error)(scope, receive, send)


class TrustedHosts:
    """Refuse requests for other hosts (DNS rebinding, poisoned links).

    `*.example.com` matches all subdomains.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        names = (f"[{host}]" if ":" in host else host for host in (h.strip("[]") for h in hosts))
        pattern = "|".join(re.escape(name).replace(r"\*", "[a-z0-9_.-]+") for name in names)
        self._trusted = re.compile(f"(?:{pattern})(?::[0-9]+)?".encode(), re.IGNORECASE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "lifespan" or scope["path"] in _PROBES or self._is_trusted(scope):
            await self.app(scope, receive, send)
        else:
            await problem_response(scope, INVALID_HOST)(scope, receive, send)

    def _is_trusted(self, scope: Scope) -> bool:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        return len(hosts) == 1 and self._trusted.fullmatch(hosts[0]) is not None


class UnambiguousRequests:
    """Refuse requests that servers and proxies could understand in different ways."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "lifespan":
            singletons = [name for name, _ in scope["headers"] if name in _SINGLETONS]
            if len(singletons) != len({*singletons}):
                await problem_response(scope, REPEATED)(scope, receive, send)
                return
            version = scope.get("http_version", "1.1")  # optional in some scopes
            if version != "1.0" and b"host" not in singletons:
                await problem_response(scope, HOST_MISSING)(scope, receive, send)
                return
            if version == "2.0":  # on the request line of HTTP/1
                await problem_response(scope, UNKNOWN_VERSION)(scope, receive, send)
                return
            if not _PATH.fullmatch(scope["path"]):
                await problem_response(scope, PATH_NOT_FOUND)(scope, receive, send)
                return
        await self.app(scope, receive, send)


class Cors(CORSMiddleware):
    """CORS (Fetch standard), with problems for refusals."""

    def __init__(self, app: ASGIApp, origins: Collection[str], *, allow_credentials: bool) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=REQUEST_HEADERS,
            allow_credentials=allow_credentials,
            expose_headers=RESPONSE_HEADERS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer preflight requests; add headers to the responses of others."""
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            headers = Headers(scope=scope)
            if "origin" in headers and "access-control-request-method" in headers:
                response = self.preflight_response(headers)
                if response.status_code == HTTPStatus.BAD_REQUEST:
                    kept = {
                        name: value
                        for name, value in response.headers.items()
                        if name not in {"content-length", "content-type"}
                    }
                    response = problem_response(scope, CORS_REFUSED, headers=kept)
                await response(scope, receive, send)
                return
        await super().__call__(scope, receive, send)
