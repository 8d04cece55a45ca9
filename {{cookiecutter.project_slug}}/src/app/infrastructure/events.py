"""Events in the log: a record of who changed what."""

import re
from dataclasses import asdict
from typing import Any, Final

import structlog

_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")

logger = structlog.stdlib.get_logger("app.audit")


class LoggedEvents:
    """Logs a line per event, with the request's id and user."""

    async def publish(self, event: Any) -> None:  # noqa: ANN401 - any dataclass
        """Log an event: its class as words, and its fields."""
        name = _CAPITAL.sub(" ", type(event).__name__).lower()
        facts = {
            name: value if isinstance(value, int | float | bool | None) else str(value)
            for name, value in asdict(event).items()
        }
        logger.info(name, **facts)
