"""Live events: what their routes stand on."""

from typing import Annotated

from fastapi import Depends

from app.api.deps.database import SessionDep
from app.api.deps.inline import on_loop
from app.api.deps.resources import ResourcesDep
from app.infrastructure.realtime import Hub
from app.services.realtime import Doorkeeper, TicketService
from app.wiring import realtime as wiring


@on_loop
def get_ticket_service(resources: ResourcesDep, session: SessionDep) -> TicketService:
    """Return what gives tickets out; stands on the resources and the request's session."""
    return wiring.ticket_service(resources, session)


@on_loop
def get_doorkeeper(resources: ResourcesDep) -> Doorkeeper:
    """Return what lets connections in; stands on the resources, for these outlive any session."""
    return wiring.doorkeeper(resources)


@on_loop
def get_hub(resources: ResourcesDep) -> Hub:
    """Return where connections come together; stands on the resources."""
    return wiring.hub(resources)


TicketServiceDep = Annotated[TicketService, Depends(get_ticket_service)]
DoorkeeperDep = Annotated[Doorkeeper, Depends(get_doorkeeper)]
HubDep = Annotated[Hub, Depends(get_hub)]
