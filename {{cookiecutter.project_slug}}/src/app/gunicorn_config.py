"""Configuration of gunicorn: `gunicorn -c python:app.gunicorn_config app.asgi:app`.

The master loads it, and stops at invalid settings before it starts workers.
"""

import asyncio
import gc
import math
import os
import shutil
import signal
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from app.about import DISTRIBUTION
from app.config import load_settings
from app.core.logging import configure_logging
from app.infrastructure.http.server import HttpProtocol

# {%- if cookiecutter.use_websockets +%}
from app.infrastructure.realtime.server import uvicorn_options

# {%- endif +%}

_settings = load_settings()
_SECONDS_TO_CLOSE = 5
"""Time to close resources, after requests and jobs."""


def _configure_logging() -> None:
    configure_logging(_settings.logging, production=_settings.is_production)


class StructuredLogger(Logger):  # type: ignore[misc]  # it has no types
    """Sends gunicorn's log to ours. Its access log is off: our middleware writes one."""

    def setup(self, cfg: Config) -> None:
        """Set levels as gunicorn does, and our handlers."""
        super().setup(cfg)
        _configure_logging()


class ServiceWorker(UvicornWorker):  # type: ignore[misc]  # it has no types
    """A server process on uvloop and httptools. Our middleware logs and handles proxies."""

    CONFIG_KWARGS = {  # noqa: RUF012 - the name and the form are the parent's
        "loop": "uvloop",
        "http": partial(HttpProtocol, _settings.http),
        "lifespan": "on",
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        # After this time, requests in flight are cancelled and resources closed.
        "timeout_graceful_shutdown": _settings.server.graceful_timeout,
        "timeout_notify": 1,
        # {% if cookiecutter.use_websockets %}
        **uvicorn_options(_settings.realtime),
        # {% else %}
        "ws": "none",
        # {% endif %}
    }

    sockets: list[Any]  # the parent's, which has no types

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        # uvloop closes the descriptor of gunicorn's wrapper twice, when it may be another file's.
        # A plain socket is closed once.
        self.sockets = [listener.sock for listener in self.sockets]
        # The parent has just set gunicorn's handlers on uvicorn's loggers.
        _configure_logging()

    async def callback_notify(self) -> None:
        """Send a heartbeat; stop if the master is gone, as gunicorn's own workers do.

        Otherwise they would keep the port, and nothing could stop or replace them.
        """
        await super().callback_notify()
        if os.getppid() != self.ppid:
            signal.raise_signal(signal.SIGTERM)

    def _install_sigquit_handler(self) -> None:
        # The master sends SIGQUIT on SIGINT and SIGQUIT. The parent class keeps serving until it is
        # killed; uvicorn handles SIGTERM.
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGQUIT, signal.raise_signal, signal.SIGTERM)


def _bind(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


proc_name = DISTRIBUTION
bind = _bind(_settings.server.host, _settings.server.port)
workers = _settings.server.workers
worker_class = ServiceWorker
preload_app = True  # docs/adr/0011-preload.md
timeout = 60  # seconds without a heartbeat
# Requests, then jobs, then resources; a worker that needs longer is killed.
graceful_timeout = (
    _settings.server.graceful_timeout + math.ceil(_settings.jobs.drain_seconds) + _SECONDS_TO_CLOSE
)
keepalive = _settings.server.keep_alive
logger_class = StructuredLogger
loglevel = _settings.logging.level.lower()
accesslog = None
# Regular restarts would hide leaks.
max_requests = 0
control_socket_disable = True
# Workers send heartbeats and count through files. On a disk, that can block; and on a full one, as
# uploads can leave it, a count kills the worker (SIGBUS).
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
if _settings.metrics.enabled:
    # Each worker counts on its own; the scraped one adds up the counts of all.
    _counts = tempfile.mkdtemp(prefix="metrics-", dir=worker_tmp_dir)
    raw_env = [f"PROMETHEUS_MULTIPROC_DIR={_counts}", f"APP_METRICS__DIRECTORY={_counts}"]


def on_starting(_: Arbiter) -> None:
    """Freeze the loaded application, so that workers share its memory; disable collection."""
    gc.collect()
    gc.freeze()
    gc.disable()


def post_worker_init(_: ServiceWorker) -> None:
    """Collect garbage from now on, except for objects created during startup."""
    gc.freeze()
    gc.enable()


def when_ready(_: Arbiter) -> None:
    """Serve the metrics of all workers on a port of their own."""
    own = _settings.metrics
    if own.enabled and own.port is not None:
        # Imported now: the library looks for the directory when it is imported.
        from prometheus_client import start_http_server  # noqa: PLC0415

        from app.infrastructure.metrics import registry_of  # noqa: PLC0415

        start_http_server(own.port, own.host, registry_of(Path(_counts)))


def child_exit(_: Arbiter, worker: ServiceWorker) -> None:
    """Remove the gauges of a worker that has ended."""
    if _settings.metrics.enabled:
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

        mark_process_dead(worker.pid, _counts)  # type: ignore[no-untyped-call]


def on_exit(_: Arbiter) -> None:
    """Remove the metrics of the workers."""
    if _settings.metrics.enabled:
        shutil.rmtree(_counts, ignore_errors=True)
