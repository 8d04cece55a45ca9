"""Settings of background jobs."""

from typing import Annotated

from pydantic import Field

from app.core.config.base import SettingsGroup


class JobSettings(SettingsGroup):
    """Background jobs."""

    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 10.0
    """Seconds that jobs which are due have to finish on shutdown. The others stay in the
    database."""
