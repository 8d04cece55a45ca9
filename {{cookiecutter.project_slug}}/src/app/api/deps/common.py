"""Dependencies of all features: resources, sessions, pages, preconditions, rate limits."""

from collections.abc import AsyncIterator, Container
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Query
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import HTTPConnection

from app.core.errors import DatabaseUnavailable, TooManyConcurrentRequests, TooManyRequests
from app.domain.auth import Client
from app.infrastructure.database import Session
from app.infrastructure.http.context import request_context
from app.infrastructure.http.problems import raises
from app.infrastructure.http.routes import Preconditions
from app.infrastructure.http.schemas import LINE, PageQuery
from app.infrastructure.limits import (
    SITE_PREFIX,
    ConcurrencyLimiter,
    Policy,
    network_of,
)
from app.resources import Resources

_USER_AGENT_LENGTH = 255
_ADDRESS_LENGTH = 45  # of an IPv6 address that ends in an IPv4 one; a proxy may send anything


def resources_of(connection: HTTPConnection) -> Resources:
    """Return the resources that the lifespan opened.

    For dependencies of every request, as `ResourcesDep` costs some microseconds each time.
    """
    resources: Resources = connection.app.state.resources
    return resources


async def get_resources(connection: HTTPConnection) -> Resources:
    """Return the resources that the lifespan opened."""
    return resources_of(connection)


ResourcesDep = Annotated[Resources, Depends(get_resources)]


@raises(DatabaseUnavailable)
async def get_session(connection: HTTPConnection) -> AsyncIterator[Session]:
    """Yield the session of a request that writes.

    It is committed after the route has returned and before the response is sent, so a failed
    commit answers with an error. Hence the scope of the alias.
    """
    async with resources_of(connection).database.transaction() as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session, scope="function")]


@raises(DatabaseUnavailable)
async def get_read_session(connection: HTTPConnection) -> AsyncIterator[AsyncConnection]:
    """Yield a connection for reading; only a search (`q`) has a transaction.

    Routes take their user before the service, so that authentication has returned its connection
    by then: no request holds two.
    """
    resources = resources_of(connection)
    async with (
        resources.database.search(resources.settings.database.search_timeout)
        if "q" in connection.query_params
        else resources.database.read()
    ) as reader:
        yield reader


ReadSessionDep = Annotated[AsyncConnection, Depends(get_read_session, scope="function")]


@raises(DatabaseUnavailable, TooManyConcurrentRequests)
async def get_snapshot(connection: HTTPConnection) -> AsyncIterator[AsyncConnection]:
    """Yield the connection of a response that streams rows, until its last byte is sent.

    Raises:
        TooManyConcurrentRequests: The account has too many transfers in progress.
    """
    limit_concurrency(connection, resources_of(connection).transfer_limiter)
    async with resources_of(connection).database.snapshot() as snapshot:
        yield snapshot


SnapshotDep = Annotated[AsyncConnection, Depends(get_snapshot, scope="request")]


async def get_client(connection: HTTPConnection) -> Client:
    """Return the origin of a request."""
    address = connection.client.host if connection.client else "unknown"
    agent = connection.headers.get("user-agent", "")[:_USER_AGENT_LENGTH]
    return Client(ip_address=address[:_ADDRESS_LENGTH], user_agent=agent)


ClientDep = Annotated[Client, Depends(get_client)]
PageDep = Annotated[PageQuery, Query()]

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1000,
        pattern=LINE,
        description="Apply the change only if the resource still has this `ETag`.",
        examples=['"1"'],
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        max_length=1000,
        pattern=LINE,
        description="Return 304 without a body if the resource still has this `ETag`.",
        examples=['"1"'],
    ),
]
IfNoneMatchOfChange = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        max_length=1000,
        pattern=LINE,
        description="Apply the change only if the resource has another `ETag`.",
        examples=['"7"'],
    ),
]


async def get_expected_versions(
    if_match: IfMatch = None, if_none_match: IfNoneMatchOfChange = None
) -> Container[int]:
    """Return the versions that a request may change."""
    return Preconditions(if_match, if_none_match)


ExpectedVersions = Annotated[Container[int], Depends(get_expected_versions)]


@raises(TooManyRequests)
async def limit_address(connection: HTTPConnection) -> None:
    """Apply the general limit to the client's address, before authentication."""
    await _hit(connection, "general-address", _network_of(connection))


@raises(TooManyRequests)
async def limit_auth_address(connection: HTTPConnection) -> None:
    """Apply the limits for logins, passwords and mail to the client's address and IPv6 site."""
    network, site = _network_of(connection), _network_of(connection, SITE_PREFIX)
    await _hit(connection, "auth-address", network)
    if site != network:
        await _hit(connection, "auth-site", site)


RateLimitedByAddress = Depends(limit_address)
AuthRateLimitedByAddress = Depends(limit_auth_address)


async def limit_account(connection: HTTPConnection, user_id: UUID) -> None:
    """Apply the general limit to an account.

    Raises:
        TooManyRequests: The limit is reached.
    """
    await _hit(connection, "general-account", str(user_id))


def limit_concurrency(connection: HTTPConnection, limiter: ConcurrencyLimiter) -> None:
    """Count a request of an account, or of an address, until its response has ended.

    Raises:
        TooManyConcurrentRequests: The limit is reached.
    """
    context = request_context(connection.scope)
    context.on_end.append(limiter.acquire(context.user_id or _network_of(connection)))


async def _hit(connection: HTTPConnection, policy: Policy, subject: str) -> None:
    quota = await resources_of(connection).rate_limiter.hit(policy, subject)
    if quota is None:
        return
    request_context(connection.scope).quotas.append(quota)
    if not quota.allowed:
        raise TooManyRequests(quota.reset_after, policy=policy)


def _network_of(connection: HTTPConnection, prefix: int = 64) -> str:
    client = connection.scope.get("client")
    return network_of(client[0], prefix) if client else "unknown"
