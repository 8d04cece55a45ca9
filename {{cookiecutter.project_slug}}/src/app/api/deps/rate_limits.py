"""Rate limits as dependencies: a router takes those it needs (OWASP API4:2023).

Each asks for one policy, keeps what is left for the `RateLimit` headers, and refuses with a 429.
Limits by address stand on routers, before anybody is asked who they are; limits by account are
asked by whoever learns the account.
"""

import hashlib
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from starlette.requests import HTTPConnection

from app.api.deps.inline import on_loop
from app.api.deps.resources import ResourcesDep
from app.core.addresses import network_of
from app.core.errors import TooManyRequests
from app.infrastructure.http.context import request_context
from app.infrastructure.http.problems import raises
from app.infrastructure.rate_limits import Policy, RateLimiter


@on_loop
def get_rate_limiter(resources: ResourcesDep) -> RateLimiter:
    """The service's rate limiter; stands on the resources."""
    return resources.rate_limiter


RateLimiterDep = Annotated[RateLimiter, Depends(get_rate_limiter)]


@raises(TooManyRequests)
async def limit_address(connection: HTTPConnection, resources: ResourcesDep) -> None:
    """Hold a client's address to the general limit; stands on the resources.

    Raises:
        TooManyRequests: The limit is reached.
    """
    await _hit(connection, resources.rate_limiter, "general-address", address_of(connection))


@raises(TooManyRequests)
async def limit_auth_address(connection: HTTPConnection, resources: ResourcesDep) -> None:
    """Hold a client's address to the limit of logins and passwords; stands on the resources.

    Raises:
        TooManyRequests: The limit is reached.
    """
    await _hit(connection, resources.rate_limiter, "auth-address", address_of(connection))


RateLimitedByAddress = Depends(limit_address)
AuthRateLimitedByAddress = Depends(limit_auth_address)


async def limit_account(
    connection: HTTPConnection, limiter: RateLimiter, principal_id: UUID | str
) -> None:
    """Hold an account to the general limit; the authenticator asks, once it knows who it is.

    Raises:
        TooManyRequests: The limit is reached.
    """
    await _hit(connection, limiter, "general-account", str(principal_id))


async def limit_login(connection: HTTPConnection, limiter: RateLimiter, username: str) -> None:
    """Hold the name somebody wants to log in with to the limit of logins, known or not.

    Only a hash of the name is kept, so that its length does not matter.

    Raises:
        TooManyRequests: The limit is reached.
    """
    name = username.strip().casefold().encode("utf-8", "surrogatepass")
    subject = hashlib.sha256(name).hexdigest()[:32]
    await _hit(connection, limiter, "auth-account", subject)


async def limit_password_change(
    connection: HTTPConnection, limiter: RateLimiter, user_id: UUID
) -> None:
    """Hold an account's changes of its password to the same limit; no login counts here.

    Raises:
        TooManyRequests: The limit is reached.
    """
    await _hit(connection, limiter, "auth-account", str(user_id))


def address_of(connection: HTTPConnection) -> str:
    """The address or network that a client is counted by."""
    client = connection.scope.get("client")
    return network_of(client[0]) if client else "unknown"


async def _hit(
    connection: HTTPConnection, limiter: RateLimiter, policy: Policy, subject: str
) -> None:
    quota = await limiter.hit(policy, subject)
    if quota is None:
        return
    request_context(connection.scope).quotas.append(quota)
    if not quota.allowed:
        raise TooManyRequests(quota.reset_after, policy=policy)
