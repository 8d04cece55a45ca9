"""Settings of background jobs."""

from typing import Annotated

from pydantic import Field

from app.core.config.base import SettingsGroup


class JobSettings(SettingsGroup):
    """How work is done that goes on after the answer."""

    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 10.0
    """Seconds that jobs under way are given to finish when the process ends."""
