"""Dependencies of the WebSocket routes."""

from typing import Annotated

from fastapi import Depends

from app.api.deps.auth import AuthenticatorDep
from app.api.deps.common import ResourcesDep, SessionDep
from app.infrastructure.events.adapter import LiveEvents
from app.infrastructure.realtime import Hub
from app.repositories.realtime import TicketRepository
from app.services.realtime import Doorkeeper, TicketService


async def get_ticket_service(resources: ResourcesDep, session: SessionDep) -> TicketService:
    """Return the service of tickets."""
    return TicketService(TicketRepository(session), resources.settings.realtime)


async def get_doorkeeper(resources: ResourcesDep, authenticator: AuthenticatorDep) -> Doorkeeper:
    """Return the service that admits connections, in transactions of its own."""
    return Doorkeeper(resources.database, authenticator, resources.settings.realtime)


async def get_hub(resources: ResourcesDep) -> Hub:
    """Return the hub of connections.

    Raises:
        TypeError: Events go elsewhere.
    """
    if not isinstance(resources.events, LiveEvents):
        raise TypeError(type(resources.events))
    return resources.events.hub


TicketServiceDep = Annotated[TicketService, Depends(get_ticket_service)]
DoorkeeperDep = Annotated[Doorkeeper, Depends(get_doorkeeper)]
HubDep = Annotated[Hub, Depends(get_hub)]
