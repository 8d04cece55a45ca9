"""The middleware of every request, as plain ASGI (rule MID01)."""

from collections.abc import Collection, Mapping

from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.core.config import HttpSettings
from app.infrastructure.http import metrics
from app.infrastructure.http.middleware.bodies import BodyLimit, Compression
from app.infrastructure.http.middleware.idempotency import IdempotencyMiddleware
from app.infrastructure.http.middleware.origins import Cors, TrustedHosts
from app.infrastructure.http.middleware.requests import ErrorBoundary, RequestMiddleware

__all__ = ["middleware"]


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
        production: Whether browsers are told to insist on HTTPS.
        registry: Where requests are counted, if they are.
        body_limits: Size limits of the paths that have one of their own.
    """
    hsts_seconds = settings.hsts_seconds if production else 0
    layers = [
        # First, so that all others see the client instead of the proxy.
        Middleware(ProxyHeadersMiddleware, trusted_hosts=settings.forwarded_allow_ips),
        # Around everything that responds: each response gets its headers and a log line.
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
        # Before anything reads the body.
        Middleware(BodyLimit, max_bytes=settings.max_body_bytes, of_paths=body_limits),
        Middleware(Compression, minimum_size=1024),
        # Inside of compression: stored responses are replayed to clients that may not accept gzip.
        Middleware(IdempotencyMiddleware),
        # Last: its response passes through all others.
        Middleware(ErrorBoundary),
    ]
