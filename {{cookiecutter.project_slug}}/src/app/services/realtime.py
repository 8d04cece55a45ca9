"""Live events: who may connect, who may stay, and who may say what."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, Protocol
from uuid import UUID

from app.core.clock import utc_now
from app.core.config.realtime import RealtimeSettings
from app.core.errors import InsufficientScope, InvalidToken, Unauthenticated
from app.core.security.tickets import TICKET_PREFIX, new_ticket, ticket_hash
from app.domain.auth import Principal
from app.domain.permissions import ROLES, permissions_in
from app.domain.realtime import (
    ANNOUNCE,
    FORBIDDEN,
    ISSUE,
    TELL,
    UNAUTHENTICATED,
    Channel,
    ConnectionId,
    Ending,
    NewTicket,
    Present,
    Shared,
    Spoken,
    TicketNotValid,
    Visitor,
    channel_of,
)
from app.domain.users import UserId
from app.infrastructure.database import Database
from app.repositories.realtime import Credential, CredentialReader, TicketRepository
from app.services.auth import Authenticator

_AT_ONCE: Final = 500
_SESSION_ENDED: Final = Ending(UNAUTHENTICATED, "the session has ended")
_NOT_PERMITTED: Final = Ending(FORBIDDEN, "a permission was withdrawn")


class Channels(Protocol):
    """Where messages are heard."""

    async def present(self, channel: Channel) -> Present:
        """Return who is in a channel."""

    def publish(self, message: Shared, channel: Channel | None = None) -> None:
        """Have a message heard in a channel, or by everybody; in the order of asking."""


@dataclass(frozen=True, slots=True)
class TicketService:
    """Gives tickets out, inside the transaction of a session."""

    tickets: TicketRepository
    settings: RealtimeSettings

    async def issue(self, principal: Principal) -> NewTicket:
        """Return a ticket for one connection, which speaks for a login.

        Raises:
            InsufficientScope: A machine asks, by its key, which it can send in a header.
        """
        if principal.session_id is None:
            raise InsufficientScope(ISSUE)
        ticket, now = new_ticket(), utc_now()
        expired = now - timedelta(seconds=self.settings.ticket_seconds)
        await self.tickets.add(principal.session_id, ticket_hash(ticket), now, expired)
        return NewTicket(ticket, self.settings.ticket_seconds)


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Lets in who may come in, and knows who may stay.

    It opens units of work of its own: a connection to a client lasts for hours, and holds none to
    the database meanwhile.
    """

    database: Database
    authenticator: Authenticator
    settings: RealtimeSettings

    async def admit(self, ticket: str | None, bearer: str | None) -> Principal:
        """Return who stands behind a ticket, which is used up by that, or behind a bearer token.

        Raises:
            Unauthenticated: There is neither.
            InvalidToken: Nobody, or nobody who may still come in.
        """
        if ticket is not None:
            return await self._by_ticket(ticket)
        if bearer is None:
            raise Unauthenticated
        return await self.authenticator.authenticate(bearer)

    async def recheck(self, visitors: Collection[Visitor]) -> dict[ConnectionId, Ending]:
        """Return which of those who are connected may not stay, and why."""
        endings: dict[ConnectionId, Ending] = {}
        everybody = list(visitors)
        # In order: one query at a time, so that requests find connections in between.
        for start in range(0, len(everybody), _AT_ONCE):
            some = everybody[start : start + _AT_ONCE]
            found = await self._credentials(some)
            for visitor in some:
                if ending := _ending(visitor, found):
                    endings[visitor.connection_id] = ending
        return endings

    async def _by_ticket(self, ticket: str) -> Principal:
        if not ticket.startswith(TICKET_PREFIX):
            raise TicketNotValid
        now = utc_now()
        made_after = now - timedelta(seconds=self.settings.ticket_seconds)
        found: Mapping[UUID, Credential] = {}
        async with self.database.transaction() as session:
            hashed = ticket_hash(ticket)
            session_id = await TicketRepository(session).use(hashed, made_after, now)
            if session_id is not None:
                found = await CredentialReader(session).of_sessions([session_id], now)
        # Only now: raised inside, the error would make the ticket good again.
        if session_id is None:
            raise TicketNotValid
        if session_id not in found:
            raise InvalidToken("The session has ended.")
        user, scope = found[session_id]
        return Principal(user, permissions_in(scope) & ROLES[user.role], session_id=session_id)

    async def _credentials(self, visitors: Collection[Visitor]) -> Mapping[UUID, Credential]:
        sessions = [p.session_id for each in visitors if (p := each.principal).session_id]
        keys = [p.api_key_id for each in visitors if (p := each.principal).api_key_id]
        now = utc_now()
        found: dict[UUID, Credential] = {}
        async with self.database.read() as connection:
            reader = CredentialReader(connection)
            if sessions:
                found.update(await reader.of_sessions(sessions, now))
            if keys:
                found.update(await reader.of_keys(keys, now))
        return found


@dataclass(frozen=True, slots=True)
class Conversation:
    """Lets one connection say what it may say."""

    channels: Channels
    visitor: Visitor

    async def present(self) -> Present:
        """Return who is in the channel."""
        return await self.channels.present(self.visitor.channel)

    def say(self, text: str) -> None:
        """Say something to all who are in the channel, oneself included."""
        self.channels.publish(self._spoken("said", text), self.visitor.channel)

    def tell(self, user_id: UserId, text: str) -> None:
        """Say something to one user, in the user's own channel.

        Raises:
            InsufficientScope: A permission for that is missing.
        """
        self.visitor.principal.require(TELL)
        self.channels.publish(self._spoken("told", text), channel_of(user_id))

    def announce(self, text: str) -> None:
        """Say something to everybody who is connected.

        Raises:
            InsufficientScope: A permission for that is missing.
        """
        self.visitor.principal.require(ANNOUNCE)
        self.channels.publish(self._spoken("announced", text))

    def _spoken(self, how: Literal["said", "told", "announced"], text: str) -> Spoken:
        return Spoken(how, self.visitor.sender, text, utc_now())


def _ending(visitor: Visitor, found: Mapping[UUID, Credential]) -> Ending | None:
    """Why a visitor may not stay, if so: it has no more permissions than it came in with."""
    principal = visitor.principal
    credential = found.get(principal.session_id or principal.api_key_id or principal.id)
    if credential is None:
        return _SESSION_ENDED
    user, scope = credential
    held = permissions_in(scope) & ROLES[user.role]
    return None if principal.permissions <= held else _NOT_PERMITTED
