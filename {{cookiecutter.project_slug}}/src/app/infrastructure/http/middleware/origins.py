"""Hosts that are served, and origins whose pages may call the service."""

import re
from collections.abc import Collection
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.infrastructure.http.problems import CORS_REFUSED, INVALID_HOST, problem_response

# Orchestrators call these by address; their responses do not depend on the host.
_PROBES = frozenset({"/health", "/live", "/ready"})
_HOST = re.compile(rb"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::[0-9]{1,5})?", re.IGNORECASE)

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = (
    "Authorization",
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


class TrustedHosts:
    """Refuse requests for other hosts (DNS rebinding, poisoned links).

    Args:
        app: The next layer.
        hosts: Names and addresses; `*.example.com` matches all subdomains.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        names = [host.lower().strip("[]") for host in hosts]
        self._exact = frozenset(name for name in names if not name.startswith("*."))
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "lifespan" or scope["path"] in _PROBES or self._is_trusted(scope):
            await self.app(scope, receive, send)
        else:
            await problem_response(scope, INVALID_HOST)(scope, receive, send)

    def _is_trusted(self, scope: Scope) -> bool:
        values = [value for name, value in scope["headers"] if name == b"host"]
        found = _HOST.fullmatch(values[0]) if len(values) == 1 else None
        if found is None:
            return False
        host = (found[1] or found[2]).decode("ascii").lower()
        return host in self._exact or host.endswith(self._suffixes)


class Cors(CORSMiddleware):
    """CORS (Fetch standard), with problems for refusals.

    Args:
        app: The next layer.
        origins: Origins whose pages may call the service.
        allow_credentials: Whether their browsers may send cookies.
    """

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
