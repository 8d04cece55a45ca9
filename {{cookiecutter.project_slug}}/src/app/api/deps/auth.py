"""Who is asking, and may they?

Routes name the permissions that they need; `Security` carries them into the OpenAPI document, so
what is documented is what is enforced.
"""

from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import (
    HTTPAuthorizationCredentials,
    HTTPBearer,
    OAuth2PasswordBearer,
    SecurityScopes,
)
from starlette.requests import HTTPConnection

from app.api.deps.inline import on_loop
from app.api.deps.rate_limits import limit_account
from app.api.deps.resources import ResourcesDep
from app.api.deps.services import AuthenticatorDep
from app.core.errors import InsufficientScope, InvalidToken, TooManyRequests, Unauthenticated
from app.domain.auth import Client, Principal
from app.domain.permissions import PERMISSIONS
from app.infrastructure.http.context import identify
from app.infrastructure.http.problems import raises

_USER_AGENT_LENGTH = 255
_ADDRESS_LENGTH = 45  # of an IPv6 address that ends in an IPv4 one; a proxy may send anything

access_token = OAuth2PasswordBearer(
    tokenUrl="/api/v1/auth/token",
    refreshUrl="/api/v1/auth/refresh",
    scheme_name="AccessToken",
    scopes={str(name): description for name, description in PERMISSIONS.items()},
    description=(
        "An access token, got with a user name and a password. It holds the permissions of the "
        "user's role, or those of them that the login asked for."
    ),
    auto_error=False,
)
api_key = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="ak_…",
    description=(
        "An API key, for machines: sent like an access token, it holds the permissions it was "
        "created with, for as long as its owner has them."
    ),
    auto_error=False,
)


@raises(Unauthenticated, InvalidToken, InsufficientScope, TooManyRequests)
async def get_principal(
    connection: HTTPConnection,
    required: SecurityScopes,
    token: Annotated[str | None, Depends(access_token)],
    key: Annotated[HTTPAuthorizationCredentials | None, Depends(api_key)],
    authenticator: AuthenticatorDep,
    resources: ResourcesDep,
) -> Principal:
    """Return who is asking: authenticated, within the rate limit, and permitted.

    Both schemes read the same header; an access token and an API key tell themselves apart. It
    stands on the authenticator and, for the rate limiter, on the resources.

    Raises:
        Unauthenticated: There is no bearer token.
        InvalidToken: The token is not, or no longer, valid.
        TooManyRequests: The account's limit is reached.
        InsufficientScope: A permission is missing.
    """
    bearer = token or (key.credentials if key else None)
    if not bearer:
        raise Unauthenticated
    principal = await authenticator.authenticate(bearer)
    identify(connection, principal)
    await limit_account(connection, resources.rate_limiter, principal.id)
    principal.require(tuple(required.scopes))
    return principal


CurrentUser = Annotated[Principal, Security(get_principal, scopes=["profile:read"])]
ProfileEditor = Annotated[Principal, Security(get_principal, scopes=["profile:write"])]
AccountOwner = Annotated[Principal, Security(get_principal, scopes=["account:manage"])]
ItemViewer = Annotated[Principal, Security(get_principal, scopes=["items:read"])]
ItemEditor = Annotated[Principal, Security(get_principal, scopes=["items:write"])]
UserViewer = Annotated[Principal, Security(get_principal, scopes=["users:read"])]
AdminUser = Annotated[Principal, Security(get_principal, scopes=["users:read", "users:write"])]


@on_loop
def get_client(connection: HTTPConnection) -> Client:
    """Return where a request comes from; stands on the connection."""
    address = connection.client.host if connection.client else "unknown"
    agent = connection.headers.get("user-agent", "")[:_USER_AGENT_LENGTH]
    return Client(ip_address=address[:_ADDRESS_LENGTH], user_agent=agent)


ClientDep = Annotated[Client, Depends(get_client)]
