"""How gunicorn runs the service: `gunicorn -c python:app.gunicorn_config app.asgi:app`.

Read once, by the process that watches over the workers. Settings that won't do stop it here, with
the one message that lists them, before there is any worker to be restarted over and over.
"""

import asyncio
import gc
import math
import os
import shutil
import signal
import tempfile
from typing import Any

from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from app.about import DISTRIBUTION
from app.config import load_settings
from app.core.logging import configure_logging

# {%- if cookiecutter.use_websockets +%}
from app.infrastructure.realtime.server import uvicorn_options

# {%- endif +%}

_settings = load_settings()
_SECONDS_TO_CLOSE = 5
"""For all that is closed at once. Jobs have their own time, which comes before."""


def _configure_logging() -> None:
    configure_logging(_settings.logging, production=_settings.is_production)


class StructuredLogger(Logger):  # type: ignore[misc]  # it has no types
    """Leads gunicorn's own lines to our log. Its access log is off: our middleware has one."""

    def setup(self, cfg: Config) -> None:
        """Set levels as gunicorn does, and handlers as we do."""
        super().setup(cfg)
        _configure_logging()


class ServiceWorker(UvicornWorker):  # type: ignore[misc]  # it has no types
    """A server process on uvloop and httptools, doing nothing that our middleware does already."""

    CONFIG_KWARGS = {  # noqa: RUF012 - the name and the form are the parent's
        "loop": "uvloop",
        "http": "httptools",
        "lifespan": "on",
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        # What is in flight may finish; then it is cancelled, and there is time to close resources.
        "timeout_graceful_shutdown": _settings.server.graceful_timeout,
        # {% if cookiecutter.use_websockets %}
        **uvicorn_options(_settings.realtime),
        # {% else %}
        "ws": "none",
        # {% endif %}
    }

    sockets: list[Any]  # the parent's, which has no types

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        # What gunicorn wraps a socket in, uvloop closes a second time: by its number, which by then
        # may be that of a file that another thread has opened. Of a socket it knows that it is one.
        self.sockets = [listener.sock for listener in self.sockets]
        # The parent has just given uvicorn's loggers handlers of gunicorn's.
        _configure_logging()

    def _install_sigquit_handler(self) -> None:
        # What the master sends when it gets SIGINT or SIGQUIT. The parent takes note of it and goes
        # on serving, until it is killed; the server has an ear for SIGTERM.
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGQUIT, signal.raise_signal, signal.SIGTERM)


def _bind(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


proc_name = DISTRIBUTION
bind = _bind(_settings.server.host, _settings.server.port)
workers = _settings.server.workers
worker_class = ServiceWorker
timeout = _settings.server.timeout
# Requests, then what is left of jobs, then the rest: whoever needs longer is killed.
graceful_timeout = (
    _settings.server.graceful_timeout + math.ceil(_settings.jobs.drain_seconds) + _SECONDS_TO_CLOSE
)
keepalive = _settings.server.keep_alive
logger_class = StructuredLogger
loglevel = _settings.logging.level.lower()
accesslog = None
# A worker that has to be restarted now and then has a leak that should be found.
max_requests = 0
control_socket_disable = True
if _settings.metrics.enabled:
    # Each worker counts for itself; whichever is scraped adds up what all of them have counted.
    _counts = tempfile.mkdtemp(prefix="metrics-")
    raw_env = [f"PROMETHEUS_MULTIPROC_DIR={_counts}", f"APP_METRICS__DIRECTORY={_counts}"]


def on_starting(_: Arbiter) -> None:
    """Have workers start without looking for garbage: what a start makes, lasts.

    They inherit it from the master, which thus never looks for garbage itself: it makes next to
    none.
    """
    gc.disable()


def post_worker_init(_: ServiceWorker) -> None:
    """Look for garbage from now on, but never among what has been made until now.

    The little of that which is garbage stays: to find it would take a fifteenth of the start.
    """
    gc.freeze()
    gc.enable()


def on_exit(_: Arbiter) -> None:
    """Leave nothing behind."""
    if _settings.metrics.enabled:
        shutil.rmtree(_counts, ignore_errors=True)


# Workers give signs of life through a file; on a disk, that can block.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
