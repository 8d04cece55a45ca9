"""Listing and ending sessions."""

from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import event, insert, text
from starlette.testclient import TestClient

from app import models
from app.core.clock import utc_now
from app.core.ids import new_id
from app.repositories.sessions import SessionRepository
from tests.support.arrange import PASSWORD, Account, Arrange, ArrangeSync, bearer
from tests.support.databases import plan_of
from tests.support.factories import AuthSessionFactory

SESSIONS = "/api/v1/auth/sessions"
DAY = timedelta(days=1)


def listed(client: TestClient, user: Account, **query: Any) -> list[dict[str, Any]]:
    response = client.get(SESSIONS, params=query, headers=user.headers)
    assert response.status_code == 200
    items: list[dict[str, Any]] = response.json()["items"]
    return items


@pytest.fixture
def user(arrange: ArrangeSync) -> Account:
    return arrange.account()


class TestListSessions:
    def test_lists_active_sessions(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        arrange.store(
            AuthSessionFactory.build(user_id=user.id, revoked_at=utc_now()),
            AuthSessionFactory.build(user_id=user.id, expires_at=utc_now() - timedelta(seconds=1)),
        )
        arrange.account()
        (session,) = listed(client, user)
        assert session["id"] == str(user.session_id)
        assert session["user_agent"] == "pytest"
        assert session["ip_address"] == "203.0.113.7"
        times = {"created_at", "last_used_at", "expires_at"}
        assert session.keys() == {"id", "user_agent", "ip_address", *times}
        assert len(listed(client, arrange.account(role="admin"))) == 1

    def test_returns_pages_newest_first(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        more = [AuthSessionFactory.build(user_id=user.id, scope="") for _ in range(4)]
        arrange.store(*more)
        first = client.get(SESSIONS, params={"limit": 3}, headers=user.headers).json()
        rest = listed(client, user, limit=3, cursor=first["next_cursor"])
        ids = [session["id"] for session in first["items"] + rest]
        assert ids == [*(str(session.id) for session in reversed(more)), str(user.session_id)]


class TestEndSession:
    def test_revokes_its_tokens_at_once(self, client: TestClient, user: Account) -> None:
        form = {"username": user.username, "password": PASSWORD}
        other = client.post("/api/v1/auth/token", data=form).json()
        victim = bearer(other["access_token"])
        assert client.get("/api/v1/users/me", headers=victim).status_code == 200
        latest = listed(client, user)[0]["id"]
        response = client.delete(f"{SESSIONS}/{latest}", headers=user.headers)
        assert (response.status_code, response.content) == (204, b"")
        assert client.get("/api/v1/users/me", headers=victim).status_code == 401
        body = {"refresh_token": other["refresh_token"]}
        assert client.post("/api/v1/auth/refresh", json=body).status_code == 401
        assert len(listed(client, user)) == 1

    def test_ends_the_least_recently_used_beyond_the_quota(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        rows = [AuthSessionFactory.build(user_id=user.id, scope="") for _ in range(98)]
        arrange.store(*rows)
        stranger = arrange.account()
        form = {"username": user.username, "password": PASSWORD}

        pairs = [client.post("/api/v1/auth/token", data=form).json() for _ in range(2)]

        assert client.get(SESSIONS, headers=user.headers).status_code == 401
        body = {"refresh_token": pairs[0]["refresh_token"]}
        assert client.post("/api/v1/auth/refresh", json=body).status_code == 200
        assert client.get(SESSIONS, headers=stranger.headers).status_code == 200
        owner = bearer(pairs[1]["access_token"])
        first = client.get(SESSIONS, params={"limit": 100}, headers=owner).json()
        assert (len(first["items"]), first["next_cursor"]) == (100, None)

    async def test_reads_no_revoked_sessions_when_an_account_has_too_many(
        self, running_async: FastAPI, arrange_async: Arrange
    ) -> None:
        user, other = await arrange_async.account(), await arrange_async.account()
        now = utc_now()
        common = {"scope": "", "user_agent": "", "ip_address": "", "expires_at": now + DAY}
        rows = [
            {**common, "id": new_id(), "user_id": each.id, "revoked_at": now}
            for each in (user, *[other] * 9)
            for _ in range(200)
        ]
        await arrange_async.execute(insert(models.AuthSession).values(rows))
        await arrange_async.execute(text("ANALYZE auth_sessions"))
        sent: list[tuple[str, Any]] = []

        def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            sent.append((statement, parameters))

        async with running_async.state.resources.database.transaction() as session:
            connection = await session.connection()
            event.listen(connection.sync_connection, "before_cursor_execute", note)
            await SessionRepository(session).revoke_beyond(user.id, 100, now)
            event.remove(connection.sync_connection, "before_cursor_execute", note)
            ((statement, parameters),) = sent
            plan = await plan_of(connection, statement, parameters)
        assert "ix_auth_sessions_user_id_last_used_at_id" in plan

    def test_can_end_the_current_session(self, client: TestClient, user: Account) -> None:
        path = f"{SESSIONS}/{user.session_id}"
        assert client.delete(path, headers=user.headers).status_code == 204
        assert client.get(SESSIONS, headers=user.headers).status_code == 401

    def test_does_not_find_foreign_ended_or_unknown_sessions(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        other, admin = arrange.account(), arrange.account(role="admin")
        ended = AuthSessionFactory.build(user_id=user.id, scope="", revoked_at=utc_now())
        arrange.store(ended)
        for session_id, who in [
            (other.session_id, user),
            (other.session_id, admin),
            (ended.id, user),
            (new_id(), user),
        ]:
            response = client.delete(f"{SESSIONS}/{session_id}", headers=who.headers)
            assert (response.status_code, response.json()["code"]) == (404, "session_not_found")
        assert client.get(SESSIONS, headers=other.headers).status_code == 200
