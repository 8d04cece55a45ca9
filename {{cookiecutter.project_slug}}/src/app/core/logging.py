"""The log: one line per event, ours and the libraries' by the same road (rule ERR04).

JSON in production, aligned and coloured text in development. Get a logger with
`structlog.get_logger(__name__)`; bind what belongs to every line of a request with
`structlog.contextvars`. Lines go to the standard output and nothing else is done with them: files
and shipping belong to whatever runs the service.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

import structlog
from pydantic_core import PydanticSerializationError, to_json
from structlog.processors import ExceptionRenderer, TimeStamper
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from app.core.config import LoggingSettings
from app.core.redaction import REDACTED, redact, redacted_text

__all__ = ["REDACTED", "LoggedError", "configure_logging", "redact", "redacted_text"]

Stream = Literal["stdout", "stderr"]

# Servers bring handlers of their own, which would write their lines a second time.
_SERVERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "gunicorn.error", "gunicorn.access")
# At INFO, the engine logs statements with their values, and the access logs are our middleware's.
# What SQLAlchemy says of our pool bears the name of its class.
_QUIET = (
    "sqlalchemy",
    "app.infrastructure.database.pool",
    "uvicorn.access",
    "gunicorn.access",
    "watchfiles",
)


class LoggedError(Exception):
    """An error that is in the log, on its way to a server that would log it once more.

    Raise it from that error. A server that meets it does what it does for any other, without a
    word.
    """


def configure_logging(
    settings: LoggingSettings, *, production: bool, stream: Stream = "stdout"
) -> None:
    """Lead all logging to one place; may be called again, and the last call holds.

    Args:
        settings: Least level, and the format if it is not to follow from `production`.
        production: Whether lines are for machines.
        stream: Where lines go. Commands whose output is a result log to `stderr`.
    """
    level = logging.getLevelNamesMapping()[settings.level]
    as_json = (settings.format or ("json" if production else "console")) == "json"
    chain = _chain(as_json=as_json, colours=getattr(sys, stream).isatty())

    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Output(stream, *names),
        # A cached logger would keep the format, the level and the stream of its first use.
        cache_logger_on_first_use=False,
    )
    handler = _StreamHandler(stream)
    handler.addFilter(_is_news)
    handler.setFormatter(
        # A list of its own, because capturing the events of our loggers empties theirs.
        ProcessorFormatter(foreign_pre_chain=[ExtraAdder(), _without_meta], processors=[*chain])
    )
    # At DEBUG some libraries log values, statements and headers, and gunicorn its environment.
    library_level = max(level, logging.INFO)
    handler.setLevel(library_level)
    root = logging.getLogger()
    root.handlers = [*(other for other in root.handlers if not _is_ours(other)), handler]
    root.setLevel(library_level)
    for name in _SERVERS:
        server = logging.getLogger(name)
        server.handlers = []
        server.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(as_json)


def _chain(*, as_json: bool, colours: bool) -> list[Processor]:
    """What happens to each event, whoever wrote it."""
    renderer: list[Processor] = (
        [_render_json]
        if as_json
        else [
            _trace_as_text,
            _escape_control_characters,
            structlog.dev.ConsoleRenderer(
                colors=colours, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
    return [
        structlog.contextvars.merge_contextvars,
        # Local variables stay out: they are where the secrets are.
        ExceptionRenderer(ExceptionDictTransformer(show_locals=False, max_frames=30)),
        redact,
        _add_origin,
        *renderer,
    ]


class _Output:
    """The end of our loggers: writes finished lines.

    The stream is looked up for each line, since servers and test runners exchange it.
    """

    __slots__ = ("_stream", "name")

    def __init__(self, stream: Stream, name: str = "app") -> None:
        self._stream = stream
        self.name = name

    def msg(self, line: str) -> None:
        """Write a line at once and whole, so that processes which share the stream don't mix."""
        stream = getattr(sys, self._stream)
        # Nobody reads any more: that is no reason to fail the request that the line is about.
        with suppress(OSError):
            stream.write(f"{line}\n")
            stream.flush()

    debug = info = warning = error = critical = exception = msg


class _StreamHandler(logging.Handler):
    """The end of the libraries' loggers."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._output = _Output(stream)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a log line must not fail its writer
            # `handleError` would print the arguments as they are, secrets and all.
            record.msg, record.args, record.exc_info = "unreadable log record: %r", (error,), None
            line = self.format(record)
        self._output.msg(line)


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], LoggedError))


def _is_ours(handler: logging.Handler) -> bool:
    return isinstance(handler, _StreamHandler)


_add_time = TimeStamper(fmt="iso", utc=True)
_encode = json.JSONEncoder(separators=(",", ":")).encode


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        line = to_json(event, ensure_ascii=True).decode("ascii")
    except PydanticSerializationError:
        # Half of a surrogate pair, in what a client sent: only Python's encoder escapes that.
        return _encode(event)
    return line.replace("\x7f", "\\u007f")


def _without_meta(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep of a library's record what is ours to show: uvicorn adds a second, coloured message."""
    event.pop("color_message", None)
    event["logger"] = event.pop("_record").name
    del event["_from_structlog"]
    return event


def _add_origin(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Add what needs no redaction."""
    if "logger" not in event:
        event["logger"] = logger.name
    return _add_time(logger, method, add_log_level(logger, method, event))


def _escape_control_characters(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep each event on its line: neither a new line nor a terminal sequence gets out (SEC15)."""
    trace = event.pop("exception", None)
    escaped: EventDict = {
        _escaped(name): _escaped(value) if isinstance(value, str) else value
        for name, value in event.items()
    }
    if trace is not None:
        escaped["exception"] = trace
    return escaped


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def _trace_as_text(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Write a traceback as people read it, indented, so that none of its lines passes for ours."""
    if isinstance(stacks := event.get("exception"), list):
        event["exception"] = "\n".join(f"  {_escaped(line)}" for line in _trace_lines(stacks))
    return event


def _trace_lines(stacks: list[dict[str, Any]]) -> Iterator[str]:
    for stack in stacks:
        for frame in stack["frames"]:
            yield f'File "{frame["filename"]}", line {frame["lineno"]}, in {frame["name"]}'
        yield f"{stack['exc_type']}: {stack['exc_value']}"
        for inner in stack.get("exceptions", []):
            yield from (f"  {line}" for line in _trace_lines(inner))
