"""Dependencies of the WebSocket routes."""

from typing import Annotated

from fastapi import Depends

from app.api.deps.auth import AuthenticatorDep
from app.api.deps.common import ResourcesDep, SessionDep
from app.infrastructure.realtime import Hub
from app.repositories.realtime import TicketRepository
from app.services.realtime import ConnectionGuard, TicketService


async def get_ticket_service(session: SessionDep) -> TicketService:
    """Return the service of tickets."""
    return TicketService(TicketRepository(session))


async def get_connection_guard(
    resources: ResourcesDep, authenticator: AuthenticatorDep
) -> ConnectionGuard:
    """Return the guard of connections, which opens transactions of its own."""
    return ConnectionGuard(resources.database, authenticator)


async def get_hub(resources: ResourcesDep) -> Hub:
    """Return the hub of connections."""
    return resources.hub


TicketServiceDep = Annotated[TicketService, Depends(get_ticket_service)]
ConnectionGuardDep = Annotated[ConnectionGuard, Depends(get_connection_guard)]
HubDep = Annotated[Hub, Depends(get_hub)]
