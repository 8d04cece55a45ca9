"""Logging in and out."""

from typing import Annotated
from uuid import UUID

from fastapi import Form, Path, Request

from app.api.deps.auth import AccountOwner, ClientDep
from app.api.deps.pages import PageDep
from app.api.deps.rate_limits import AuthRateLimitedByAddress, RateLimiterDep, limit_login
from app.api.deps.services import AuthServiceDep
from app.api.schemas.auth import (
    RefreshTokenRequest,
    SessionPage,
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
from app.infrastructure.http.problems import problems
from app.infrastructure.http.routing import FeatureRouter
from app.infrastructure.http.schemas import EXAMPLE_ID

router = FeatureRouter(prefix="/auth", tags=["auth"], dependencies=[AuthRateLimitedByAddress])

TAG = {
    "name": "auth",
    "description": "Logging in and out: tokens, and the sessions behind them.",
}


@router.post(
    "/token",
    status_code=200,
    summary="Log in",
    responses=problems(InvalidCredentials, TooManyLoginAttempts, PasswordHashingBusy),
)
async def log_in(
    request: Request,
    form: Annotated[TokenRequest, Form()],
    client: ClientDep,
    limiter: RateLimiterDep,
    auth: AuthServiceDep,
) -> TokenResponse:
    """Exchange a user name and a password for a pair of tokens.

    The access token goes into the `Authorization` header of the other operations; the refresh
    token gets a new pair when it has expired. Failed logins slow down further ones.
    """
    await limit_login(request, limiter, form.username)
    password = form.password.get_secret_value()
    pair = await auth.log_in(form.username, password, form.scope, client)
    return TokenResponse.model_validate(pair)


@router.post(
    "/refresh",
    status_code=200,
    summary="Refresh tokens",
    responses=problems(InvalidRefreshToken, RefreshTokenReused),
)
async def refresh_tokens(
    body: RefreshTokenRequest, client: ClientDep, auth: AuthServiceDep
) -> TokenResponse:
    """Exchange a refresh token for a new pair.

    Each refresh token is good for one use. Using one twice ends the whole session, because one
    of its two bearers must be a thief.
    """
    pair = await auth.refresh(body.refresh_token.get_secret_value(), client)
    return TokenResponse.model_validate(pair)


@router.post("/logout", status_code=204, summary="Log out")
async def log_out(body: RefreshTokenRequest, auth: AuthServiceDep) -> None:
    """End the session that a refresh token belongs to, access tokens and all.

    A token that is unknown or no longer valid is no error (RFC 7009).
    """
    await auth.log_out(body.refresh_token.get_secret_value())


@router.get("/sessions", status_code=200, summary="List sessions")
async def list_sessions(owner: AccountOwner, query: PageDep, auth: AuthServiceDep) -> SessionPage:
    """List your sessions that have not ended, the latest first."""
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
    session_id: Annotated[UUID, Path(description="Which session.", examples=[EXAMPLE_ID])],
    auth: AuthServiceDep,
) -> None:
    """End one of your sessions: its tokens are of no use from now on."""
    await auth.end_session(owner.id, SessionId(session_id))
