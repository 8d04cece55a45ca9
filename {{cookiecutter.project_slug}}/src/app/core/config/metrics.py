"""Settings of the metrics."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from app.core.config.base import SettingsGroup


class MetricsSettings(SettingsGroup):
    """What Prometheus may scrape."""

    enabled: bool = False
    """Whether requests are counted and timed, and `/metrics` shows the numbers."""

    token: Annotated[SecretStr, Field(min_length=16)] | None = None
    """What a scraper must send as `Authorization: Bearer …`. Unset: anybody may look."""

    directory: Path | None = None
    """Where the processes of one server share their numbers; `app serve` sets it by itself."""
