"""Tickets: one connection each, for a short time, of a session that has not ended."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from starlette.testclient import TestClient

from app import models
from app.core.clock import utc_now
from app.core.errors import InsufficientScope
from app.core.security.tickets import ticket_hash
from app.repositories.realtime import TicketRepository
from app.services.realtime import TicketService
from tests.support.arrange import Account, ArrangeSync, bearer
from tests.support.sockets import PATH, TICKETS, refusal, ticket_of

UNAUTHENTICATED = 4001
STORED = select(models.RefreshToken.token_hash).where(
    models.RefreshToken.token_hash.startswith("tk")
)


def use(client: TestClient, ticket: str) -> str:
    """Connect with a ticket, and return the type of the first message."""
    with client.websocket_connect(f"{PATH}lobby?ticket={ticket}") as session:
        kind: str = session.receive_json()["type"]
        return kind


def refused(client: TestClient, ticket: str, channel: str = "lobby") -> int:
    return refusal(client, f"{PATH}{channel}?ticket={ticket}")


def expire_tickets(arrange: ArrangeSync) -> None:
    past = utc_now() - timedelta(seconds=31)
    arrange.execute(update(models.RefreshToken).values(created_at=past))


class TestIssueTicket:
    def test_returns_a_new_one_that_lasts_half_a_minute(
        self, client: TestClient, ada: Account
    ) -> None:
        response = client.post(TICKETS, headers=ada.headers)

        ticket = response.json()["ticket"]
        assert response.status_code == 200
        assert response.json()["expires_in"] == 30
        assert response.headers["Cache-Control"] == "no-store"
        assert ticket.startswith("tk_")
        assert ticket_of(client, ada) != ticket

    def test_refuses_an_account_that_is_deleted_meanwhile(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        ada: Account,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        add = TicketRepository.add

        async def add_too_late(*arguments: Any) -> None:
            await asyncio.to_thread(
                arrange.execute, delete(models.User).where(models.User.id == ada.id)
            )
            await add(*arguments)

        monkeypatch.setattr(TicketRepository, "add", add_too_late)
        response = client.post(TICKETS, headers=ada.headers)
        assert (response.status_code, response.json()["code"]) == (401, "invalid_token")

    def test_stores_a_hash_and_deletes_expired_ones(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        ticket_of(client, ada)
        expire_tickets(arrange)

        ticket = ticket_of(client, ada)

        assert arrange.rows(STORED) == [(ticket_hash(ticket),)]
        assert ticket not in ticket_hash(ticket)
        assert len(ticket_hash(ticket)) == 64

    def test_refuses_api_keys(self, client: TestClient, arrange: ArrangeSync, ada: Account) -> None:
        key = arrange.api_key(ada, frozenset({"profile:read"}))

        response = client.post(TICKETS, headers=bearer(key))

        assert response.status_code == 403
        assert response.json()["code"] == "insufficient_scope"

    async def test_needs_a_session(self) -> None:
        unused: Any = None
        machine: Any = SimpleNamespace(session_id=None)
        with pytest.raises(InsufficientScope):
            await TicketService(unused).issue(machine)


class TestUseTicket:
    def test_succeeds_once(self, client: TestClient, ada: Account) -> None:
        ticket = ticket_of(client, ada)
        assert use(client, ticket) == "welcome"
        assert refused(client, ticket) == UNAUTHENTICATED

    def test_consumes_it_for_a_forbidden_channel(self, client: TestClient, ada: Account) -> None:
        ticket = ticket_of(client, ada)
        assert refused(client, ticket, "admin") == 4003
        assert refused(client, ticket) == UNAUTHENTICATED

    def test_fails_after_its_life(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        ticket = ticket_of(client, ada)
        expire_tickets(arrange)
        assert refused(client, ticket) == UNAUTHENTICATED

    def test_fails_after_its_session(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        ticket = ticket_of(client, ada)
        arrange.execute(update(models.AuthSession).values(revoked_at=utc_now()))
        assert refused(client, ticket) == UNAUTHENTICATED

    @pytest.mark.parametrize("ticket", ["", "tk_unknown", "ak_key", "%00", "\u00e4" * 300])
    def test_fails_for_other_values(self, client: TestClient, ticket: str) -> None:
        assert refused(client, ticket) == UNAUTHENTICATED

    def test_fails_for_other_tokens(self, client: TestClient, ada: Account) -> None:
        for token in (ada.refresh_token, ada.access_token):
            assert refused(client, token) == UNAUTHENTICATED

    def test_refreshes_no_session(self, client: TestClient, ada: Account) -> None:
        ticket = ticket_of(client, ada)
        for token in (ticket, ticket_hash(ticket)):
            response = client.post("/api/v1/auth/refresh", json={"refresh_token": token})
            assert response.status_code == 401
        assert use(client, ticket) == "welcome"
