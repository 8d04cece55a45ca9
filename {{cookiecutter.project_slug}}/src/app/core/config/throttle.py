"""Settings of the brake on failed logins."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from app.core.config.base import SettingsGroup, refusal


class ThrottleSettings(SettingsGroup):
    """How fast failed logins make further ones wait; the wait doubles with each of them."""

    account_failures: Annotated[int, Field(ge=1, le=1000)] = 5
    """Failed logins of one account that cost no wait."""

    address_failures: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Failed logins from one address that cost no wait."""

    base_seconds: Annotated[int, Field(ge=1, le=3600)] = 1
    """The first wait, in seconds."""

    max_seconds: Annotated[int, Field(ge=1, le=86_400)] = 900
    """The longest wait, in seconds."""

    window_seconds: Annotated[int, Field(ge=1, le=604_800)] = 3600
    """Seconds after which a failed login is forgotten."""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.max_seconds < self.base_seconds:
            sentence = "can't be less than APP_THROTTLE__BASE_SECONDS"
            raise refusal(type(self).__name__, {("max_seconds",): sentence})
        return self
