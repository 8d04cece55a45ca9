"""Settings of the log."""

from typing import Annotated, Literal

from pydantic import BeforeValidator

from app.core.config.base import SettingsGroup


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]


class LoggingSettings(SettingsGroup):
    """What is written to the log, and how."""

    level: Level = "INFO"
    """Least level that is written. Libraries stay at INFO or above: at DEBUG some log values."""

    format: Literal["json", "console"] | None = None
    """`json` for machines, `console` for people. Unset: `json` in production, else `console`."""
