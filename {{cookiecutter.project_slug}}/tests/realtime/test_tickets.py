"""Tickets: good for one connection, for a short time, of a login that has not ended."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app import models
from app.core.clock import utc_now
from app.core.errors import InsufficientScope
from app.core.security.tickets import ticket_hash
from app.services.realtime import TicketService
from tests.support.arrange import ArrangeSync, Someone, bearer
from tests.support.sockets import PATH, TICKETS, refusal, ticket_of

UNAUTHENTICATED = 4001
STORED = select(models.RefreshToken.token_hash).where(
    models.RefreshToken.token_hash.startswith("tk")
)


@pytest.fixture
def ada(arrange: ArrangeSync) -> Someone:
    return arrange.someone()


def use(client: TestClient, ticket: str, channel: str = "lobby") -> str:
    """What is heard first on a connection that is opened with a ticket."""
    with client.websocket_connect(f"{PATH}{channel}?ticket={ticket}") as session:
        kind: str = session.receive_json()["type"]
        return kind


class TestIssueTicket:
    def test_gives_one_that_lasts_half_a_minute(self, client: TestClient, ada: Someone) -> None:
        response = client.post(TICKETS, headers=ada.headers)

        assert response.status_code == 200
        assert response.json()["expires_in"] == 30
        assert response.json()["ticket"].startswith("tk_")
        assert response.headers["Cache-Control"] == "no-store"

    def test_gives_another_each_time(self, client: TestClient, ada: Someone) -> None:
        assert len({ticket_of(client, ada) for _ in range(3)}) == 3

    def test_keeps_nothing_but_a_hash(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        ticket = ticket_of(client, ada)

        assert arrange.rows(STORED) == [(ticket_hash(ticket),)]
        assert ticket not in ticket_hash(ticket)
        assert len(ticket_hash(ticket)) == 64

    def test_clears_away_those_that_nobody_used(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        ticket_of(client, ada)
        expire_tickets(arrange)

        fresh = ticket_of(client, ada)

        assert arrange.rows(STORED) == [(ticket_hash(fresh),)]

    def test_refuses_a_key_which_can_be_sent_in_a_header(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        key = arrange.api_key(ada, frozenset({"profile:read"}))

        response = client.post(TICKETS, headers=bearer(key))

        assert response.status_code == 403
        assert response.json()["code"] == "insufficient_scope"

    async def test_is_for_sessions_only(self) -> None:
        unused: Any = None
        machine: Any = SimpleNamespace(session_id=None)
        with pytest.raises(InsufficientScope):
            await TicketService(unused, unused).issue(machine)


class TestUseTicket:
    def test_lets_its_owner_in(self, client: TestClient, ada: Someone) -> None:
        assert use(client, ticket_of(client, ada)) == "welcome"

    def test_is_possible_once(self, client: TestClient, ada: Someone) -> None:
        ticket = ticket_of(client, ada)
        use(client, ticket)

        assert refusal(client, f"{PATH}lobby?ticket={ticket}") == UNAUTHENTICATED

    def test_is_used_up_by_a_channel_that_is_not_permitted(
        self, client: TestClient, ada: Someone
    ) -> None:
        ticket = ticket_of(client, ada)

        assert refusal(client, f"{PATH}admin?ticket={ticket}") == 4003
        assert refusal(client, f"{PATH}lobby?ticket={ticket}") == UNAUTHENTICATED

    def test_is_too_late_after_its_life(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        ticket = ticket_of(client, ada)
        expire_tickets(arrange)

        assert refusal(client, f"{PATH}lobby?ticket={ticket}") == UNAUTHENTICATED

    def test_is_in_vain_once_its_login_has_ended(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        ticket = ticket_of(client, ada)
        arrange.execute(update(models.AuthSession).values(revoked_at=utc_now()))

        assert refusal(client, f"{PATH}lobby?ticket={ticket}") == UNAUTHENTICATED

    @pytest.mark.parametrize("ticket", ["", "tk_unknown", "ak_key", "%00", "\u00e4" * 300])
    def test_refuses_what_is_no_ticket(self, client: TestClient, ticket: str) -> None:
        assert refusal(client, f"{PATH}lobby?ticket={ticket}") == UNAUTHENTICATED

    def test_refuses_the_other_tokens_of_a_login(self, client: TestClient, ada: Someone) -> None:
        for token in (ada.refresh_token, ada.access_token):
            assert refusal(client, f"{PATH}lobby?ticket={token}") == UNAUTHENTICATED

    def test_is_no_way_to_refresh_a_login(self, client: TestClient, ada: Someone) -> None:
        ticket = ticket_of(client, ada)
        for token in (ticket, ticket_hash(ticket)):
            response = client.post("/api/v1/auth/refresh", json={"refresh_token": token})
            assert response.status_code == 401
        assert use(client, ticket) == "welcome"


class TestLog:
    def test_holds_no_ticket(
        self, client: TestClient, ada: Someone, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ticket = ticket_of(client, ada)
        use(client, ticket)
        refusal(client, f"{PATH}lobby?ticket={ticket}")

        written = "".join(capsys.readouterr())
        assert "request" in written
        assert ticket not in written
        assert ticket[3:12] not in written


def expire_tickets(arrange: ArrangeSync) -> None:
    past = utc_now() - timedelta(seconds=31)
    arrange.execute(update(models.RefreshToken).values(created_at=past))
