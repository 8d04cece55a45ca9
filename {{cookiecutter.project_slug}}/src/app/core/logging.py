"""Structured logging (rule ERR04): JSON in production, coloured text in development.

Get a logger with `structlog.stdlib.get_logger(__name__)`; bind fields for all lines of a request
with `structlog.contextvars`. Lines of libraries that use `logging` have the same format. Output
goes to stdout; files and shipping are up to the platform.
"""

import json
import linecache
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from operator import attrgetter, itemgetter
from pathlib import Path
from traceback import TracebackException
from typing import Any, ClassVar, Final, Literal, TypeVar

import structlog
from pydantic_core import PydanticSerializationError, to_json
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, ExcInfo, WrappedLogger

from app.core.config import LoggingSettings
from app.core.redaction import redact

ACCESS_LOG: Final = "app.access"
"""Logger of the access lines."""

Stream = Literal["stdout", "stderr"]
F = TypeVar("F")

# Servers install handlers of their own, which would write each line a second time.
_SERVERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "gunicorn.error", "gunicorn.access")
# The engine logs statements with their values at INFO; the access log is our middleware's. The
# pool's logger is named after our subclass. Commands report the steps of migrations themselves.
_QUIET = (
    "alembic",
    "sqlalchemy",
    "app.infrastructure.database.pool",
    "uvicorn.access",
    "gunicorn.access",
    "watchfiles",
)

# Local variables hold secrets.
_TRACEBACK = ExceptionDictTransformer(show_locals=False, max_frames=sys.maxsize)
# Between the server and a driver, most frames belong to libraries.
_PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"
_LAST_FRAMES = 8
_MAX_FRAMES = 50
_MAX_PATH = 70
_MANY_STATEMENTS = 10
# `color_message` is uvicorn's second copy of the message.
_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime", "color_message"}


class LoggedError(Exception):
    """An error that has been logged; the log ignores it when a server reports it again.

    Raise it from the original error.
    """


def configure_logging(
    settings: LoggingSettings, *, production: bool, stream: Stream = "stdout"
) -> None:
    """Configure structlog and `logging`; calling it again replaces the configuration.

    Args:
        settings: Level and format.
        production: The format is JSON unless the settings name another.
        stream: Commands that print a result log to `stderr`.
    """
    level = logging.getLevelNamesMapping()[settings.level]
    as_json = (settings.format or ("json" if production else "console")) == "json"
    _Output.stream = stream
    console = structlog.dev.ConsoleRenderer(
        colors=getattr(sys, stream).isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    # In place: cached loggers keep a reference to this list.
    processors = structlog.get_config()["processors"]
    processors[:] = [
        structlog.contextvars.merge_contextvars,
        ExceptionRenderer(
            partial(_structured, with_source=not production) if as_json else _printed
        ),
        redact,
        _add_origin,
        *([_render_json] if as_json else [_shorten, _escape_control_characters, console]),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Output,
        cache_logger_on_first_use=True,
    )
    handler = _Handler()
    # At DEBUG some libraries log values, statements and headers, and gunicorn its environment.
    library_level = max(level, logging.INFO)
    handler.setLevel(library_level)
    root = logging.getLogger()
    root.handlers = [*(each for each in root.handlers if not isinstance(each, _Handler)), handler]
    root.setLevel(library_level)
    for name in _SERVERS:
        server = logging.getLogger(name)
        server.handlers = []
        server.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(as_json)


def log_risks(risks: Mapping[str, str]) -> None:
    """Log a warning for each risky setting."""
    for name, reason in risks.items():
        structlog.stdlib.get_logger(__name__).warning("risky setting", setting=name, reason=reason)


class _Output:
    """Write lines to a stream, which is looked up each time: servers and test runners swap it."""

    stream: ClassVar[Stream]

    def __init__(self, name: str = "app") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        """Write a line in one piece: processes share the stream."""
        stream = getattr(sys, self.stream)
        # A closed log stream must not fail the request.
        with suppress(OSError):
            stream.write(f"{line}\n")
            stream.flush()

    debug = info = warning = error = critical = exception = msg


class _Handler(logging.Handler):
    """Pass the records of libraries on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and isinstance(record.exc_info[1], LoggedError):
            return
        try:
            event = record.getMessage()
        except Exception as error:  # noqa: BLE001 - a log line must not fail its writer
            # `logging` would print the arguments, secrets included.
            event = f"unreadable log record: {error!r}"
        extra = {name: value for name, value in vars(record).items() if name not in _RECORD}
        logger = structlog.get_logger(record.name).bind(**extra)
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        logger.log(level, event, exc_info=record.exc_info)


def _structured(exc_info: ExcInfo, *, with_source: bool) -> list[dict[str, Any]]:
    """Return the errors of a chain, each with its frames."""
    errors = _TRACEBACK(exc_info)
    pending = [*errors]
    for error in pending:
        error["frames"] = _relevant(error["frames"], itemgetter("filename"))
        for frame in error["frames"] if with_source else ():
            frame["line"] = linecache.getline(frame["filename"], frame["lineno"]).strip()
        pending += [each for chain in error["exceptions"] for each in chain]
    return errors


def _printed(exc_info: ExcInfo) -> list[str]:
    """Return the parts of a traceback as Python prints it; each has its own limit of length."""
    printed = TracebackException(*exc_info)
    pending = [printed]
    for error in pending:
        error.stack[:] = _relevant(error.stack, attrgetter("filename"))
        related = (error.__cause__, error.__context__, *(error.exceptions or ()))
        pending += [each for each in related if each is not None]
    return list(printed.format())


def _relevant(frames: Sequence[F], filename: Callable[[F], str]) -> list[F]:
    """Return the frames of the service, and the last ones of any package."""
    last = len(frames) - _LAST_FRAMES
    relevant = [
        frame
        for index, frame in enumerate(frames)
        if index >= last or filename(frame).startswith(_PACKAGE)
    ]
    if len(relevant) > _MAX_FRAMES:
        # A recursion.
        del relevant[_MAX_FRAMES // 2 : -_MAX_FRAMES // 2]
    return relevant


def _add_origin(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["level"] = method
    event["logger"] = logger.name
    event["timestamp"] = f"{datetime.now(UTC).replace(tzinfo=None).isoformat()}Z"
    return event


def _shorten(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop the date, and the usual fields of an access line."""
    event["timestamp"] = event["timestamp"][11:23]
    if logger.name != ACCESS_LOG:
        return event
    status, path = event["status"], event.get("path") or event["route"] or ""
    path = path if len(path) <= _MAX_PATH else f"{path[:_MAX_PATH]}…"
    shown = {"timestamp", "level", "code", "details"}
    if status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        shown.add("request_id")
    if event.get("statements", 0) > _MANY_STATEMENTS:
        shown |= {"statements", "database_ms"}
    line = f"{event['method']} {path} {status or '-'} {event['duration_ms']:.1f} ms"
    return {"event": line} | {name: value for name, value in event.items() if name in shown}


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        line = to_json(event, ensure_ascii=True).decode("ascii")
    except PydanticSerializationError:
        # A lone surrogate in a client's text, which only the standard library escapes.
        line = json.dumps(event)
    return line.replace("\x7f", "\\u007f")


def _escape_control_characters(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep line breaks and terminal sequences in a value from forging a line (SEC15)."""
    trace = event.pop("exception", None)
    escaped = {
        _escaped(name): _escaped(value) if isinstance(value, str) else value
        for name, value in event.items()
    }
    if trace is not None:
        escaped["exception"] = "\n".join(
            f"  {_escaped(line)}" for line in "".join(trace).rstrip("\n").split("\n")
        )
    return escaped


def _escaped(text: str) -> str:
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )
