"""Settings of the health endpoints."""

from typing import Annotated

from pydantic import Field

from app.core.config.base import SettingsGroup


class HealthSettings(SettingsGroup):
    """How long health endpoints wait."""

    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Seconds that each dependency has to answer `/ready`."""
