"""Dependencies of the WebSocket routes."""

from typing import Annotated

from fastapi import Depends

from app.api.deps.common import ResourcesDep, SessionDep
from app.core.errors import DatabaseUnavailable
from app.infrastructure.http.problems import raises
from app.repositories.realtime import TicketRepository
from app.services.auth import Authenticator
from app.services.realtime import ConnectionGuard, TicketService


async def get_ticket_service(session: SessionDep) -> TicketService:
    """Return the service of tickets."""
    return TicketService(TicketRepository(session))


@raises(DatabaseUnavailable)
async def get_connection_guard(resources: ResourcesDep) -> ConnectionGuard:
    """Return the guard of connections, which opens transactions of its own."""
    authenticator = Authenticator(resources.database, resources.tokens)
    return ConnectionGuard(resources.database, authenticator)


TicketServiceDep = Annotated[TicketService, Depends(get_ticket_service)]
ConnectionGuardDep = Annotated[ConnectionGuard, Depends(get_connection_guard)]
