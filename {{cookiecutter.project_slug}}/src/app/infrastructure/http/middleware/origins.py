"""Which hosts are served, and which pages of other origins may ask."""

import re
from collections.abc import Collection
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.infrastructure.http.middleware.cors_headers import REQUEST_HEADERS, RESPONSE_HEADERS
from app.infrastructure.http.problems import CORS_REFUSED, INVALID_HOST, problem_response

# Orchestrators ask by address; what these answer is the same for every host.
_PROBES = frozenset({"/health", "/live", "/ready"})
_HOST = re.compile(rb"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::[0-9]{1,5})?", re.IGNORECASE)

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class TrustedHosts:
    """Refuses requests for hosts that are not ours (DNS rebinding, poisoned links).

    Args:
        app: What the others go to.
        hosts: Names and addresses; `*.example.com` stands for all names under it.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        names = [host.lower().strip("[]") for host in hosts]
        self._exact = frozenset(name for name in names if not name.startswith("*."))
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is meant for us."""
        if scope["type"] == "lifespan" or scope["path"] in _PROBES or self._serves(scope):
            await self.app(scope, receive, send)
        else:
            await problem_response(scope, INVALID_HOST)(scope, receive, send)

    def _serves(self, scope: Scope) -> bool:
        values = [value for name, value in scope["headers"] if name == b"host"]
        found = _HOST.fullmatch(values[0]) if len(values) == 1 else None
        if found is None:
            return False
        host = (found[1] or found[2]).decode("ascii").lower()
        return host in self._exact or host.endswith(self._suffixes)


class Cors(CORSMiddleware):
    """Cross-origin requests as the Fetch standard has them; refusals are problems.

    Args:
        app: What the permitted ones go to.
        origins: Origins whose pages may ask.
        allow_credentials: Whether their browsers may send cookies along.
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
        """Answer preflight requests; complete the headers of the others."""
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
