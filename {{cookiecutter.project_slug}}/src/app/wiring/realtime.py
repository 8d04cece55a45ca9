"""Live events: what each service gets."""

from app import wiring
from app.infrastructure.database.session import Session
from app.infrastructure.events.adapter import LiveEvents
from app.infrastructure.realtime import Hub
from app.repositories.realtime import TicketRepository
from app.resources import Resources
from app.services.realtime import Doorkeeper, TicketService


def hub(resources: Resources) -> Hub:
    """Return where connections come together.

    Raises:
        TypeError: Events go elsewhere.
    """
    if not isinstance(resources.events, LiveEvents):
        raise TypeError(type(resources.events))
    return resources.events.hub


def ticket_service(resources: Resources, session: Session) -> TicketService:
    """Return what gives tickets out, inside the transaction of a session."""
    return TicketService(TicketRepository(session), resources.settings.realtime)


def doorkeeper(resources: Resources) -> Doorkeeper:
    """Return what lets connections in; it opens its own units of work."""
    return Doorkeeper(
        resources.database, wiring.authenticator(resources), resources.settings.realtime
    )
