"""What every request passes through, and the reason for each position (rule MID01).

All of it is plain ASGI. What does not apply to a configuration is left out rather than passed.
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.api import metrics
from app.config import Settings
from app.infrastructure.http.middleware.access import RequestLog
from app.infrastructure.http.middleware.bodies import (
    BodyLimit,
    Compression,
    HeadAsGet,
    LingeringClose,
)
from app.infrastructure.http.middleware.boundary import ErrorBoundary
from app.infrastructure.http.middleware.headers import ResponseHeaders
from app.infrastructure.http.middleware.idempotency import KeptAnswers
from app.infrastructure.http.middleware.origins import Cors, TrustedHosts

__all__ = ["middleware"]


def middleware(
    settings: Settings,
    registry: CollectorRegistry | None = None,
    body_limits: Mapping[str, int] | None = None,
) -> list[Middleware]:
    """The layers from the outside in.

    Args:
        settings: What is to be let in, and how large.
        registry: Where requests are counted, if they are to be.
        body_limits: The largest bodies of paths that take more, or less, than others.
    """
    http = settings.http
    hsts = http.hsts_seconds if settings.is_production else 0
    layers = [
        # Around everything: what it waits for is no part of the time that a request took.
        Middleware(LingeringClose),
        # So early that everything after it sees the client, not the proxy.
        Middleware(ProxyHeadersMiddleware, trusted_hosts=http.forwarded_allow_ips),
        # Around all that may answer: each answer has an id and a time, and gets its line.
        Middleware(RequestLog),
        # Around all that may refuse: a refusal carries the same headers as any other answer.
        Middleware(ResponseHeaders, hsts_seconds=hsts),
    ]
    if registry is not None:
        # Around all that may refuse: refusals count, too.
        layers.append(metrics.middleware(registry))
    if "*" not in http.trusted_hosts:
        # Before anything is done for a request that was meant for another.
        layers.append(Middleware(TrustedHosts, hosts=http.trusted_hosts))
    if settings.cors_origins:
        # Around whatever makes errors: a page can't read one that lacks its headers.
        layers.append(
            Middleware(
                Cors,
                origins=settings.cors_origins,
                allow_credentials=http.cors_allow_credentials,
            )
        )
    return [
        *layers,
        # Before anything reads: a body that says it is too large is not even begun.
        Middleware(BodyLimit, max_bytes=http.max_body_bytes, of_paths=body_limits),
        # Around compression: HEAD has the headers that GET would have.
        Middleware(HeadAsGet),
        # Sees the bodies as the routes make them; all outside it sees them as they leave.
        Middleware(Compression, minimum_size=http.compress_min_bytes),
        # Around what answers in place of a failed route: then the key is free again.
        Middleware(KeptAnswers),
        # Last: what it answers in place of a failed route passes through all of the above.
        Middleware(ErrorBoundary),
    ]
