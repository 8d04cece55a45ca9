"""Requests and responses about API keys."""

from datetime import datetime
from typing import Annotated

from pydantic import MISSING, BeforeValidator, Field

from app.domain.permissions import DelegablePermission, Permission
from app.infrastructure.http.schemas import (
    VISIBLE_LINE,
    InputModel,
    Page,
    ResourceResponse,
    is_a_number,
)

Days = Annotated[int, Field(ge=1, le=3650), BeforeValidator(is_a_number)]


class ApiKeyCreate(InputModel):
    """A new key."""

    name: str = Field(
        min_length=1,
        max_length=100,
        pattern=VISIBLE_LINE,
        description="Name, unique among your keys.",
        examples=["nightly import"],
    )
    scopes: list[DelegablePermission] = Field(
        min_length=1,
        max_length=20,
        description=(
            "Permissions: a subset of your own, without `account:manage`, `profile:write` and "
            "`users:write`."
        ),
        examples=[["profile:read"]],
    )
    expires_in_days: Days | MISSING = Field(
        MISSING,
        description="Days until the key expires, 90 by default. The service may set a maximum.",
        examples=[90],
    )


class ApiKeyResponse(ResourceResponse):
    """A key, without its secret."""

    name: str = Field(description="Name.", examples=["nightly import"])
    hint: str = Field(description="Last four characters of the key.", examples=["x9Qe"])
    scopes: list[Permission] = Field(description="Permissions.", examples=[["profile:read"]])
    expires_at: datetime = Field(
        description="Expiry time, in UTC.", examples=["2027-02-19T10:30:00Z"]
    )
    last_used_at: datetime | None = Field(
        description="Time of the last use, to the minute, in UTC.",
        examples=["2026-11-21T10:30:00Z"],
    )


class ApiKeyPage(Page[ApiKeyResponse]):
    """A page of API keys."""


class ApiKeyCreatedResponse(ApiKeyResponse):
    """A new key, with its secret."""

    key: str = Field(
        description="Key, shown only once. Send it as `Authorization: Bearer …`.",
        examples=["ak_3vQm8nB1xZ7kL5pW0tY2rE4uI6oA9sDfGhJkLzXcVbM"],
    )
