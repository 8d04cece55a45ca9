"""One request, one unit of work.

A route names who is asking before it names a service: by then the query that authenticates has
given its connection back, and no request waits for a second one while it keeps a first.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.deps.resources import ResourcesDep
from app.core.errors import DatabaseUnavailable
from app.infrastructure.database.session import Session
from app.infrastructure.http.problems import raises


@raises(DatabaseUnavailable)
async def get_session(resources: ResourcesDep) -> AsyncIterator[Session]:
    """Yield the session of a request that writes; stands on the resources.

    It is committed when the route has returned and before the response leaves: a commit that
    fails answers with an error. Hence the scope of the alias, which every route must use.

    Raises:
        DatabaseUnavailable: The database can't be reached or did not answer in time.
    """
    async with resources.database.transaction() as session:
        yield session


@raises(DatabaseUnavailable)
async def get_snapshot(resources: ResourcesDep) -> AsyncIterator[AsyncConnection]:
    """Yield the connection of a response that streams rows; stands on the resources.

    Its scope is the request: it is closed when the last byte has left, or the client has.

    Raises:
        DatabaseUnavailable: The database can't be reached or did not answer in time.
    """
    async with resources.database.snapshot() as connection:
        yield connection


SessionDep = Annotated[Session, Depends(get_session, scope="function")]
SnapshotDep = Annotated[AsyncConnection, Depends(get_snapshot, scope="request")]
