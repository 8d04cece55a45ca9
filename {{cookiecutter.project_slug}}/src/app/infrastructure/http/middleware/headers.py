"""Headers of every response: security, caching, and what is left of rate limits.

The values follow the OWASP REST Security and HTTP Headers cheat sheets for an API that answers
programs: nothing in it is meant to be shown, framed, sniffed or kept. The documentation pages are
the exception, and name the places that their scripts and styles come from.
"""

from collections.abc import Iterable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.infrastructure.http.context import request_context
from app.infrastructure.http.openapi import DOCS_PATH, REDOC_PATH
from app.infrastructure.rate_limits import Quota

RawHeader = tuple[bytes, bytes]

_COMMON: list[RawHeader] = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_API_CSP: RawHeader = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_DOCS_SOURCES = (
    b"default-src 'none'; "
    b"script-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"style-src 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    b"font-src https://fonts.gstatic.com; "
    b"img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly; "
    b"connect-src 'self'; worker-src blob:; form-action 'self'; base-uri 'none'; "
    b"frame-ancestors 'none'"
)
_DOCS_CSP: RawHeader = (b"content-security-policy", _DOCS_SOURCES)
# Answers may hold tokens and other people's data: whoever wants one kept has to say so.
_NOT_KEPT: RawHeader = (b"cache-control", b"no-store")


class ResponseHeaders:
    """Adds the headers, made once, to each response.

    Args:
        app: What makes the responses.
        hsts_seconds: How long browsers insist on HTTPS (RFC 6797); 0 leaves the header out.
    """

    def __init__(self, app: ASGIApp, hsts_seconds: int = 0) -> None:
        self.app = app
        common = [*_COMMON]
        if hsts_seconds:
            value = b"max-age=%d; includeSubDomains" % hsts_seconds
            common.append((b"strict-transport-security", value))
        self._api = [*common, _API_CSP]
        self._docs = [*common, _DOCS_CSP]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request, and complete the headers when its response begins."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                if message["status"] == HTTPStatus.NO_CONTENT:
                    headers = [header for header in headers if header[0] != b"content-type"]
                message["headers"] = self._completed(headers, scope)
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _completed(self, headers: Iterable[RawHeader], scope: Scope) -> list[RawHeader]:
        is_docs = scope["path"].startswith((DOCS_PATH, REDOC_PATH))
        completed = [*headers, *(self._docs if is_docs else self._api)]
        for name, _ in completed:
            if name == b"cache-control":
                break
        else:
            completed.append(_NOT_KEPT)
        quotas = request_context(scope).quotas
        if quotas:
            completed.extend(rate_limit_headers(quotas))
        return completed


def rate_limit_headers(quotas: list[Quota]) -> list[RawHeader]:
    """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).

    Both are lists of structured fields (RFC 9651): the name of a policy, then its quota `q` in a
    window of `w` seconds, or what remains `r` and the seconds `t` until there is more.
    """
    left = ", ".join(f'"{q.policy}";r={q.remaining};t={q.reset_after}' for q in quotas)
    policies = ", ".join(f'"{q.policy}";q={q.limit};w={q.window}' for q in quotas)
    return [(b"ratelimit", left.encode()), (b"ratelimit-policy", policies.encode())]
