"""Settings of idempotency keys."""

from typing import Annotated

from pydantic import Field

from app.core.config.base import SettingsGroup


class IdempotencySettings(SettingsGroup):
    """How long a request that was sent twice is recognized by its `Idempotency-Key`."""

    answer_seconds: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400
    """Seconds that an answer is kept, to be given again."""

    claim_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """Seconds after which a key is free again whose request never ended, because its process was
    killed. Must be longer than any request takes."""
