"""Requests and responses about tokens and sessions."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, Secret, SecretStr, StringConstraints

from app.infrastructure.http.schemas import (
    LINE,
    PASSWORD_FORMAT,
    VISIBLE_LINE,
    InputModel,
    Page,
    Password,
    ResourceResponse,
    ResponseModel,
)

_REFRESH_TOKEN = "rt_8s7Kk0rQ1bM9mJY5n2c3vXw4uT6zPq8hL0aSdFgHjKl"  # noqa: S105 - an example
DEVICE_TOKEN = f"dt_GdUe2LkQ0v8sYxWn4rTqB7mJc5HfZpA1oKiE9uVhXyM{'5a' * 32}"


class TokenRequest(InputModel):
    """The form of the OAuth 2.0 password grant (RFC 6749 §4.3.2)."""

    grant_type: Literal["password"] = Field(
        "password", description="Grant type.", examples=["password"]
    )
    username: str = Field(
        min_length=1,
        max_length=254,
        pattern=VISIBLE_LINE,
        description="Username or e-mail address.",
        examples=["ada"],
    )
    password: Password = Field(description="Password.", examples=["Analytical1Engine"])
    scope: str = Field(
        "",
        max_length=500,
        pattern=LINE,
        description="Requested permissions, separated by spaces; empty for all those of the role.",
        examples=["profile:read users:read"],
    )
    client_id: str | None = Field(
        None, max_length=255, description="Accepted for compatibility and ignored.", examples=[None]
    )
    client_secret: SecretStr | None = Field(
        None, max_length=255, description="Accepted for compatibility and ignored.", examples=[None]
    )


class RefreshTokenRequest(InputModel):
    """A refresh token."""

    refresh_token: Secret[
        Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=VISIBLE_LINE)]
    ] = Field(
        description="Latest refresh token.",
        json_schema_extra=PASSWORD_FORMAT,
        examples=[_REFRESH_TOKEN],
    )


class StepUpRequest(InputModel):
    """The password of a user who is logged in."""

    password: Password = Field(description="Password.", examples=["Analytical1Engine"])


class AccessTokenResponse(ResponseModel):
    """An access token."""

    access_token: str = Field(
        description="Send it as `Authorization: Bearer …`.", examples=["eyJhbGciOiJFUzI1NiJ9.e30.c"]
    )
    token_type: Literal["bearer"] = Field(
        "bearer", description="Type of the access token.", examples=["bearer"]
    )
    expires_in: int = Field(description="Lifetime of the access token, in seconds.", examples=[900])
    scope: str = Field(
        description="Granted permissions, separated by spaces.", examples=["profile:read"]
    )


class TokenResponse(AccessTokenResponse):
    """A pair of tokens (RFC 6749 §5.1)."""

    refresh_token: str = Field(
        description="Single-use token for the next refresh.",
        examples=[_REFRESH_TOKEN],
    )
    device_token: str | None = Field(
        description=(
            "Only after a login: keep it, also after a logout, and send it as `Device-Token` at "
            "the next login."
        ),
        examples=[DEVICE_TOKEN],
    )


class SessionResponse(ResourceResponse):
    """An active session."""

    user_agent: str = Field(description="User agent of the client.", examples=["curl/8.5.0"])
    ip_address: str = Field(description="IP address of the last refresh.", examples=["203.0.113.7"])
    last_used_at: datetime = Field(
        description="Time of the last refresh, in UTC.", examples=["2026-11-21T10:30:00Z"]
    )
    expires_at: datetime = Field(
        description="Time at which the session ends unless refreshed, in UTC.",
        examples=["2026-12-21T10:30:00Z"],
    )


class SessionPage(Page[SessionResponse]):
    """A page of sessions."""
