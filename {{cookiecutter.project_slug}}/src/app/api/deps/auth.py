"""Dependencies of authentication and login."""

from typing import Annotated, Literal

from fastapi import Depends, Security
from fastapi.security import (
    HTTPAuthorizationCredentials,
    HTTPBearer,
    OAuth2PasswordBearer,
    SecurityScopes,
)
from starlette.requests import HTTPConnection

from app.api.deps.common import (
    ResourcesDep,
    limit_account,
    limit_concurrency,
    resources_of,
)
from app.core.errors import (
    DatabaseUnavailable,
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidToken,
    TooManyConcurrentRequests,
    TooManyRequests,
    Unauthenticated,
)
from app.domain.auth import Principal, TooManyLoginAttempts
from app.domain.permissions import PERMISSIONS
from app.infrastructure.http.context import identify
from app.infrastructure.http.problems import raises
from app.infrastructure.throttle import Throttle
from app.models.login_throttles import LoginThrottle
from app.resources import Resources
from app.services.auth import Authenticator, AuthService, PasswordVerifier

access_token = OAuth2PasswordBearer(
    tokenUrl="/api/v1/auth/token",
    refreshUrl="/api/v1/auth/refresh",
    scheme_name="AccessToken",
    scopes={str(name): description for name, description in PERMISSIONS.items()},
    description=(
        "An access token, issued at login for a username and password. It grants the permissions "
        "of the user's role, or the subset requested at login."
    ),
    auto_error=False,
)
api_key = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="ak_…",
    description=(
        "An API key, for machines. Send it like an access token. It grants the permissions it was "
        "created with, as long as its owner has them."
    ),
    auto_error=False,
)


def password_throttle(resources: Resources, scope: Literal["login", "change"]) -> Throttle:
    """Return the throttle for wrong passwords."""
    return Throttle(LoginThrottle, resources.settings.throttle, TooManyLoginAttempts, scope=scope)


def password_verifier(resources: Resources) -> PasswordVerifier:
    """Return the verifier for passwords of logged-in users."""
    throttle = password_throttle(resources, "change")
    return PasswordVerifier(resources.database, resources.hasher, throttle)


@raises(DatabaseUnavailable)
async def get_auth_service(resources: ResourcesDep) -> AuthService:
    """Return the service for logins, which opens its own transactions."""
    return AuthService(
        database=resources.database,
        hasher=resources.hasher,
        tokens=resources.tokens,
        throttle=password_throttle(resources, "login"),
        verifier=password_verifier(resources),
        settings=resources.settings.auth,
        session_quota=resources.settings.quotas.sessions,
    )


AuthServiceDep = Annotated[AuthService, Depends(get_auth_service)]


@raises(
    Unauthenticated,
    InvalidToken,
    InsufficientScope,
    TooManyRequests,
    TooManyConcurrentRequests,
    DatabaseUnavailable,
)
async def get_principal(
    connection: HTTPConnection,
    required: SecurityScopes,
    token: Annotated[str | None, Depends(access_token)],
    key: Annotated[HTTPAuthorizationCredentials | None, Depends(api_key)],
) -> Principal:
    """Authenticate a request, apply the limits of its account, and require permissions.

    Both schemes read the same header: an access token and an API key differ by their prefix.

    Raises:
        Unauthenticated: The request has no bearer token.
        InvalidToken: The token is not valid.
        TooManyRequests: A limit of the account is reached.
        InsufficientScope: A permission is missing.
    """
    bearer = token or (key.credentials if key else None)
    if not bearer:
        raise Unauthenticated
    resources = resources_of(connection)
    principal = await Authenticator(resources.database, resources.tokens).authenticate(bearer)
    identify(
        connection,
        principal.id,
        session_id=principal.session_id,
        api_key_id=principal.api_key_id,
    )
    await limit_account(connection, principal.id)
    if connection.scope["type"] == "http":  # another kind of connection may last for hours
        limit_concurrency(connection, resources.request_limiter)
    principal.require(tuple(required.scopes))
    return principal


@raises(InsufficientUserAuthentication)
async def get_recent_principal(
    connection: HTTPConnection, principal: Annotated[Principal, Depends(get_principal)]
) -> Principal:
    """Authenticate a request and require that the user has entered the password recently.

    Raises:
        InsufficientUserAuthentication: That was too long ago.
    """
    resources_of(connection).tokens.require_recent(principal.authenticated_at)
    return principal


AccountOwner = Annotated[Principal, Security(get_principal, scopes=["account:manage"])]
RecentOwner = Annotated[Principal, Security(get_recent_principal, scopes=["account:manage"])]
