"""Events in the log: an audit trail."""

import re
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from typing import Any, Final

import structlog

_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")

logger = structlog.stdlib.get_logger("app.audit")


@dataclass(slots=True)
class RequestEvents:
    """Events of a request, for its log line: a line of their own costs as much as an INSERT."""

    events: list[dict[str, object]] = field(default_factory=list)
    is_logged: bool = False


request_events: ContextVar[RequestEvents | None] = ContextVar("request_events", default=None)
"""Collects the events of the current request, if there is one."""


class LoggedEvents:
    """Logs events: those of a request in its log line, others in a line each."""

    async def publish(self, event: Any) -> None:  # noqa: ANN401 - any dataclass
        """Log an event: its class as words, and its fields."""
        name = _CAPITAL.sub(" ", type(event).__name__).lower()
        data: dict[str, object] = {}
        for each in fields(event):
            value = getattr(event, each.name)
            data[each.name] = value if isinstance(value, int | float | bool | None) else str(value)
        request = request_events.get()
        # A task may outlive the request that has started it.
        if request is None or request.is_logged:
            logger.info(name, **data)
        else:
            request.events.append({"event": name, **data})
