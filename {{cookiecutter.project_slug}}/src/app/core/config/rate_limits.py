"""Settings of rate limits."""

from typing import Annotated

from limits import parse
from pydantic import AfterValidator

from app.core.config.base import SettingsGroup


def _is_rate(rate: str) -> str:
    try:
        parse(rate)
    except ValueError as error:
        message = f"{rate!r} is no rate such as '30/minute'"
        raise ValueError(message) from error
    return rate


Rate = Annotated[str, AfterValidator(_is_rate)]
"""So many requests in so much time: `30/minute`, `1000/hour`, `5 per 10 seconds`."""


class RateLimitSettings(SettingsGroup):
    """How often one address and one account may ask."""

    enabled: bool = True
    """Whether requests are limited at all."""

    auth_address: Rate = "30/minute"
    """Requests of one address under `/auth`, and of those that set a password."""

    auth_account: Rate = "10/minute"
    """Logins by one name, and changes of one account's password."""

    general_address: Rate = "1200/minute"
    """All requests of one address under `/api`."""

    general_account: Rate = "600/minute"
    """All requests of one account under `/api`."""
