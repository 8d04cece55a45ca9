"""Tickets of WebSockets, and checks of connected clients."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from app.core.clock import utc_now
from app.core.errors import InsufficientScope, InvalidToken, Unauthenticated
from app.core.security.tickets import TICKET_PREFIX, new_ticket, ticket_hash
from app.domain.auth import Principal
from app.domain.permissions import ROLES, permissions_in
from app.domain.realtime import NewTicket, TicketNotValid
from app.infrastructure.database import Database
from app.infrastructure.realtime import Client, Close
from app.infrastructure.realtime.connections import FORBIDDEN, UNAUTHENTICATED
from app.repositories.realtime import Credential, CredentialReader, TicketRepository
from app.services.auth import Authenticator

_TICKET_LIFE: Final = timedelta(seconds=30)
_BATCH: Final = 500
_SESSION_ENDED: Final = Close(UNAUTHENTICATED, "the session has ended")
_NOT_PERMITTED: Final = Close(FORBIDDEN, "a permission was withdrawn")


@dataclass(frozen=True, slots=True)
class TicketService:
    """Issues tickets, in the transaction of the request."""

    tickets: TicketRepository

    async def issue(self, principal: Principal) -> NewTicket:
        """Return a ticket for one connection.

        Raises:
            InsufficientScope: The principal has no session but an API key, which goes in a header.
        """
        if principal.session_id is None:
            raise InsufficientScope(("account:manage",))
        ticket, now = new_ticket(), utc_now()
        await self.tickets.add(principal.session_id, ticket_hash(ticket), now, now - _TICKET_LIFE)
        return NewTicket(ticket, _TICKET_LIFE.seconds)


@dataclass(frozen=True, slots=True)
class ConnectionGuard:
    """Admits connections. It opens its own units of work: a connection lasts for hours."""

    database: Database
    authenticator: Authenticator

    async def admit(self, ticket: str | None, bearer: str | None) -> Principal:
        """Return the principal of a ticket, which is used up, or of a bearer token.

        Raises:
            Unauthenticated: There is neither.
            InvalidToken: The ticket or token is not valid.
        """
        if ticket is not None:
            return await self._by_ticket(ticket)
        if bearer is None:
            raise Unauthenticated
        return await self.authenticator.authenticate(bearer)

    async def _by_ticket(self, ticket: str) -> Principal:
        if not ticket.startswith(TICKET_PREFIX):
            raise TicketNotValid
        now = utc_now()
        found: Mapping[UUID, Credential] = {}
        async with self.database.transaction() as session:
            hashed = ticket_hash(ticket)
            session_id = await TicketRepository(session).use(hashed, now - _TICKET_LIFE, now)
            if session_id is not None:
                found = await CredentialReader(session).of_sessions([session_id], now)
        # After the commit: raised inside, the error would make the ticket valid again.
        if session_id is None:
            raise TicketNotValid
        if session_id not in found:
            raise InvalidToken("The session has ended.")
        user, scope = found[session_id]
        return Principal(user, permissions_in(scope) & ROLES[user.role], session_id=session_id)


async def recheck(database: Database, clients: Collection[Client]) -> dict[UUID, Close]:
    """Return the connections to close: their session or key has ended, or lost a permission."""
    closes: dict[UUID, Close] = {}
    everyone = list(clients)
    # One query at a time, so that requests get connections in between.
    for start in range(0, len(everyone), _BATCH):
        batch = everyone[start : start + _BATCH]
        ids, now = [each.credential for each in batch], utc_now()
        async with database.read() as connection:
            reader = CredentialReader(connection)
            found = {**await reader.of_sessions(ids, now), **await reader.of_keys(ids, now)}
        for client in batch:
            if client.credential not in found:
                closes[client.id] = _SESSION_ENDED
                continue
            user, scope = found[client.credential]
            if not client.permissions <= permissions_in(scope) & ROLES[user.role]:
                closes[client.id] = _NOT_PERMITTED
    return closes
