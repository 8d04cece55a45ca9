"""Listing and ending one's logins."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from app import models
from app.core.clock import utc_now
from app.core.ids import new_id
from tests.support.arrange import PASSWORD, ArrangeSync, Someone, bearer
from tests.support.factories import AuthSessionFactory

SESSIONS = "/api/v1/auth/sessions"


def listed(client: TestClient, user: Someone, **query: Any) -> list[dict[str, Any]]:
    response = client.get(SESSIONS, params=query, headers=user.headers)
    assert response.status_code == 200
    items: list[dict[str, Any]] = response.json()["items"]
    return items


@pytest.fixture
def user(arrange: ArrangeSync) -> Someone:
    return arrange.someone()


class TestListSessions:
    def test_lists_the_logins_that_have_not_ended(
        self, client: TestClient, arrange: ArrangeSync, user: Someone
    ) -> None:
        arrange.store(
            AuthSessionFactory.build(user_id=user.id, revoked_at=utc_now()),
            AuthSessionFactory.build(user_id=user.id, expires_at=utc_now() - timedelta(seconds=1)),
        )
        (session,) = listed(client, user)
        assert session["id"] == str(user.session_id)
        assert session["user_agent"] == "pytest"
        assert session["ip_address"] == "203.0.113.7"
        assert session.keys() == {
            "id",
            "created_at",
            "user_agent",
            "ip_address",
            "last_used_at",
            "expires_at",
        }

    def test_shows_those_of_nobody_else(
        self, client: TestClient, arrange: ArrangeSync, user: Someone
    ) -> None:
        arrange.someone()
        admin = arrange.someone(role="admin")
        assert len(listed(client, user)) == 1
        assert len(listed(client, admin)) == 1

    def test_gives_pages_the_latest_first(
        self, client: TestClient, arrange: ArrangeSync, user: Someone
    ) -> None:
        more = [AuthSessionFactory.build(user_id=user.id, scope="") for _ in range(4)]
        arrange.store(*more)
        first = client.get(SESSIONS, params={"limit": 3}, headers=user.headers).json()
        rest = client.get(
            SESSIONS, params={"limit": 3, "cursor": first["next_cursor"]}, headers=user.headers
        ).json()
        ids = [session["id"] for session in first["items"] + rest["items"]]
        assert ids == [*(str(session.id) for session in reversed(more)), str(user.session_id)]
        assert rest["next_cursor"] is None

    @pytest.mark.parametrize(
        "query",
        [{"limit": 0}, {"limit": 101}, {"cursor": "bm9uc2Vuc2U"}, {"cursor": "!"}, {"owner": "x"}],
    )
    def test_refuses_a_query_that_is_not_valid(
        self, client: TestClient, user: Someone, query: dict[str, Any]
    ) -> None:
        response = client.get(SESSIONS, params=query, headers=user.headers)
        assert response.status_code == 422


class TestEndSession:
    def test_makes_its_tokens_useless_at_once(self, client: TestClient, user: Someone) -> None:
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

    def test_can_end_the_one_that_asks(self, client: TestClient, user: Someone) -> None:
        path = f"{SESSIONS}/{user.session_id}"
        assert client.delete(path, headers=user.headers).status_code == 204
        assert client.get(SESSIONS, headers=user.headers).status_code == 401

    def test_does_not_find_that_of_another(
        self, client: TestClient, arrange: ArrangeSync, user: Someone
    ) -> None:
        other = arrange.someone()
        admin = arrange.someone(role="admin")
        path = f"{SESSIONS}/{other.session_id}"
        answers = [client.delete(path, headers=who.headers) for who in (user, admin)]
        assert [(each.status_code, each.json()["code"]) for each in answers] == [
            (404, "session_not_found")
        ] * 2
        assert client.get(SESSIONS, headers=other.headers).status_code == 200

    def test_does_not_find_one_that_never_was(self, client: TestClient, user: Someone) -> None:
        response = client.delete(f"{SESSIONS}/{new_id()}", headers=user.headers)
        assert response.status_code == 404

    def test_does_not_find_one_that_has_ended(
        self, client: TestClient, arrange: ArrangeSync, user: Someone
    ) -> None:
        ended = AuthSessionFactory.build(user_id=user.id, scope="")
        arrange.store(ended)
        arrange.execute(
            update(models.AuthSession)
            .where(models.AuthSession.id == ended.id)
            .values(revoked_at=utc_now())
        )
        response = client.delete(f"{SESSIONS}/{ended.id}", headers=user.headers)
        assert response.status_code == 404

    def test_refuses_what_is_no_id(self, client: TestClient, user: Someone) -> None:
        response = client.delete(f"{SESSIONS}/mine", headers=user.headers)
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == "path.session_id"
