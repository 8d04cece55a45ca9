"""Login, tokens and sessions."""

from typing import Annotated
from uuid import UUID

from fastapi import Form, Header, Path

from app.api.deps.auth import AccountOwner, AuthServiceDep
from app.api.deps.common import (
    AuthRateLimitedByAddress,
    ClientDep,
    PageDep,
)
from app.api.schemas.auth import (
    DEVICE_TOKEN,
    AccessTokenResponse,
    RefreshTokenRequest,
    SessionPage,
    StepUpRequest,
    TokenRequest,
    TokenResponse,
)
from app.core.errors import PasswordHashingBusy
from app.domain.auth import (
    InvalidCredentials,
    InvalidRefreshToken,
    RefreshTokenReused,
    SessionId,
    SessionNotFound,
    TooManyLoginAttempts,
)
from app.domain.users import WrongPassword
from app.infrastructure.http.problems import problems
from app.infrastructure.http.routes import OPEN, FeatureRouter
from app.infrastructure.http.schemas import EXAMPLE_ID, LINE

router = FeatureRouter(prefix="/auth", tags=["auth"], dependencies=[AuthRateLimitedByAddress])

TAG = {
    "name": "auth",
    "description": (
        "Login, logout, tokens and sessions. Changes of credentials, roles and accounts need a "
        "recent login: an access token whose `auth_time` is at most five minutes ago by default."
    ),
}
DeviceToken = Annotated[
    str | None,
    Header(
        alias="Device-Token",
        max_length=255,
        pattern=LINE,
        description=(
            "`device_token` of an earlier login. It lets you log in while others guess your "
            "password; a new password revokes it."
        ),
        examples=[DEVICE_TOKEN],
    ),
]


@router.post(
    "/token",
    status_code=200,
    summary="Log in",
    responses=problems(InvalidCredentials, TooManyLoginAttempts, PasswordHashingBusy),
    openapi_extra=OPEN,
)
async def log_in(
    form: Annotated[TokenRequest, Form()],
    client: ClientDep,
    auth: AuthServiceDep,
    device_token: DeviceToken = None,
) -> TokenResponse:
    """Exchange a username and password for a pair of tokens.

    Send the access token in the `Authorization` header; use the refresh token to get a new pair.
    Failed logins delay further ones from the same device or network. An account has a limited
    number of sessions: a further login ends the least recently used one.
    """
    password = form.password.get_secret_value()
    pair = await auth.log_in(form.username, password, form.scope, client, device_token)
    return TokenResponse.model_validate(pair)


@router.post(
    "/refresh",
    status_code=200,
    summary="Refresh tokens",
    responses=problems(InvalidRefreshToken, RefreshTokenReused),
    openapi_extra=OPEN,
)
async def refresh_tokens(
    body: RefreshTokenRequest, client: ClientDep, auth: AuthServiceDep
) -> TokenResponse:
    """Exchange a refresh token for a new pair of tokens.

    Refresh tokens are single-use. Reusing one ends its session, because it may have been stolen.
    """
    pair = await auth.refresh(body.refresh_token.get_secret_value(), client)
    return TokenResponse.model_validate(pair)


@router.post(
    "/step-up",
    status_code=200,
    summary="Step up",
    responses=problems(WrongPassword, TooManyLoginAttempts, PasswordHashingBusy),
)
async def step_up(
    owner: AccountOwner,
    body: StepUpRequest,
    client: ClientDep,
    auth: AuthServiceDep,
) -> AccessTokenResponse:
    """Exchange your password for an access token that counts as a recent login.

    Do this after a 401 with the code `insufficient_user_authentication` (RFC 9470). The session and
    its refresh token stay as they are; a refreshed token counts from the login.
    """
    token = await auth.step_up(owner, body.password.get_secret_value(), client)
    return AccessTokenResponse.model_validate(token)


@router.post("/logout", status_code=204, summary="Log out", openapi_extra=OPEN)
async def log_out(body: RefreshTokenRequest, auth: AuthServiceDep) -> None:
    """End the session of a refresh token and revoke its access tokens.

    Unknown and invalid tokens are ignored (RFC 7009).
    """
    await auth.log_out(body.refresh_token.get_secret_value())


@router.get("/sessions", status_code=200, summary="List sessions")
async def list_sessions(owner: AccountOwner, query: PageDep, auth: AuthServiceDep) -> SessionPage:
    """List your active sessions, newest first."""
    page = await auth.sessions(owner.id, query.page())
    return SessionPage.model_validate(page)


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    summary="End a session",
    responses=problems(SessionNotFound),
)
async def end_session(
    owner: AccountOwner,
    session_id: Annotated[UUID, Path(description="ID of the session.", examples=[EXAMPLE_ID])],
    auth: AuthServiceDep,
) -> None:
    """End one of your sessions and revoke its tokens."""
    await auth.end_session(owner.id, SessionId(session_id))
