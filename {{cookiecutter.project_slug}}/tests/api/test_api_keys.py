"""API keys (rule SEC07)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app import models
from app.api.deps.auth import get_principal
from app.config import Settings
from app.core.clock import utc_now
from app.core.ids import new_id
from app.core.security.secrets import digest
from app.domain.notifications import SendMail
from app.domain.permissions import DELEGABLE
from tests.support.arrange import Account, ArrangeSync, Jobs, bearer, gone
from tests.support.factories import ApiKeyFactory

KEYS = "/api/v1/users/me/api-keys"
ME = "/api/v1/users/me"

Limit = Callable[[int], None]


def status_and_code(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def create(client: TestClient, user: Account, **body: Any) -> httpx2.Response:
    whole = {"name": "import", "scopes": ["profile:read"], **body}
    return client.post(KEYS, json=whole, headers=user.headers)


def listed(client: TestClient, user: Account) -> list[dict[str, Any]]:
    response = client.get(KEYS, headers=user.headers)
    assert response.status_code == 200
    items: list[dict[str, Any]] = response.json()["items"]
    return items


@pytest.fixture
def user(arrange: ArrangeSync) -> Account:
    return arrange.account()


@pytest.fixture
def limit(use: Callable[..., None], settings: Settings) -> Limit:
    """Set the maximum lifetime of keys, in days."""

    def to(days: int) -> None:
        auth = settings.auth.model_copy(update={"api_key_max_days": days})
        use(settings=settings.model_copy(update={"auth": auth}))

    return to


class TestCreateApiKey:
    def test_returns_a_key_that_authenticates(self, client: TestClient, user: Account) -> None:
        response = create(client, user)
        assert response.status_code == 201
        key = response.json()
        assert response.headers["location"] == f"{KEYS}/{key['id']}"
        assert key["key"].startswith("ak_")
        assert key["hint"] == key["key"][-4:]
        assert (key["name"], key["scopes"]) == ("import", ["profile:read"])
        assert key["last_used_at"] is None
        assert client.get(ME, headers=bearer(key["key"])).status_code == 200

    def test_shows_the_key_only_once(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        response = create(client, user)
        assert response.headers["cache-control"] == "no-store"
        created = response.json()
        key = created.pop("key")
        assert listed(client, user) == [created]
        (row,) = arrange.rows(select(models.ApiKey.__table__))
        assert row.key_hash == digest(key)
        assert key not in map(str, row)

    @pytest.mark.parametrize(
        ("most", "asked", "days"),
        [(365, {}, 90), (365, {"expires_in_days": 365}, 365), (30, {}, 30)],
    )
    def test_expires_after_the_requested_days(
        self, client: TestClient, user: Account, limit: Limit, most: int, asked: Any, days: int
    ) -> None:
        limit(most)
        key = create(client, user, **asked).json()
        created, ends = (datetime.fromisoformat(key[name]) for name in ("created_at", "expires_at"))
        assert ends - created == timedelta(days=days)

    @pytest.mark.parametrize("most", [365, 30])
    def test_refuses_a_lifetime_over_the_maximum(
        self, client: TestClient, user: Account, limit: Limit, most: int
    ) -> None:
        limit(most)
        response = create(client, user, expires_in_days=most + 1)
        assert status_and_code(response) == (422, "validation_error")
        (error,) = response.json()["errors"]
        assert (error["field"], error["code"]) == ("body.expires_in_days", "less_than_equal")
        assert error["message"] == f"Input should be less than or equal to {most}"

    def test_notifies_the_owner(self, client: TestClient, jobs: Jobs, user: Account) -> None:
        key = create(client, user).json()
        values = {"name": key["name"], "hint": key["hint"]}
        assert jobs() == [SendMail("api_key_created", user.id, values=values)]

    def test_refuses_a_duplicate_name(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        assert create(client, user).status_code == 201
        assert status_and_code(create(client, user, name=" import ")) == (409, "api_key_name_taken")
        assert create(client, arrange.account()).status_code == 201

    def test_refuses_more_than_the_quota(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        rows = [ApiKeyFactory.build(user_id=user.id) for _ in range(99)]
        arrange.store(*rows)
        last = create(client, user).json()
        assert status_and_code(create(client, user, name="more")) == (409, "too_many_api_keys")
        assert create(client, arrange.account()).status_code == 201
        assert client.delete(f"{KEYS}/{last['id']}", headers=user.headers).status_code == 204
        assert create(client, user, name="more").status_code == 201

    def test_refuses_a_user_who_was_deleted_meanwhile(
        self, client: TestClient, app: FastAPI
    ) -> None:
        app.dependency_overrides[get_principal] = gone
        response = client.post(KEYS, json={"name": "import", "scopes": ["profile:read"]})
        assert status_and_code(response) == (401, "invalid_token")

    @pytest.mark.parametrize(
        "body",
        [
            {"name": ""},
            {"name": "   "},
            {"name": "\u200b"},
            {"name": "x" * 101},
            {"name": "two\nlines"},
            {"scopes": []},
            {"scopes": ["profile:delete"]},
            {"scopes": "profile:read"},
            {"scopes": ["account:manage"]},
            {"scopes": ["profile:read", "account:manage"]},
            {"scopes": ["users:write"]},
            {"expires_in_days": 0},
            {"expires_in_days": 3651},
            {"expires_in_days": "soon"},
            {"expires_in_days": None},
            {"user_id": str(new_id())},
        ],
    )
    def test_refuses_an_invalid_body(
        self, client: TestClient, user: Account, body: dict[str, Any]
    ) -> None:
        assert status_and_code(create(client, user, **body)) == (422, "validation_error")
        assert listed(client, user) == []

    def test_grants_no_permission_that_the_owner_lacks(
        self, client: TestClient, user: Account
    ) -> None:
        response = create(client, user, scopes=["profile:read", "users:read"])
        assert status_and_code(response) == (403, "insufficient_scope")
        assert response.json()["detail"] == "This operation requires users:read."
        assert listed(client, user) == []

    def test_grants_no_permission_that_the_token_lacks(
        self, client: TestClient, arrange: ArrangeSync
    ) -> None:
        admin = arrange.account("admin", frozenset({"account:manage", "profile:read"}))
        response = create(client, admin, scopes=["users:read"])
        assert status_and_code(response) == (403, "insufficient_scope")

    def test_grants_all_delegable_permissions(
        self, client: TestClient, arrange: ArrangeSync
    ) -> None:
        admin = arrange.account(role="admin")
        key = create(client, admin, scopes=sorted(DELEGABLE)).json()
        assert key["scopes"] == sorted(DELEGABLE)
        assert client.get("/api/v1/users", headers=bearer(key["key"])).status_code == 200


class TestUseApiKey:
    def test_is_limited_to_its_scope(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        headers = bearer(arrange.api_key(user, frozenset({"profile:read"})))
        assert client.get(ME, headers=headers).status_code == 200
        response = client.patch(ME, json={}, headers=headers)
        assert status_and_code(response) == (403, "insufficient_scope")

    def test_loses_permissions_with_its_owner(
        self, client: TestClient, arrange: ArrangeSync
    ) -> None:
        admin = arrange.account(role="admin")
        headers = bearer(arrange.api_key(admin, frozenset({"users:read", "profile:read"})))
        assert client.get("/api/v1/users", headers=headers).status_code == 200
        arrange.execute(update(models.User).values(role="user"))
        assert client.get("/api/v1/users", headers=headers).status_code == 403
        assert client.get(ME, headers=headers).status_code == 200

    def test_is_refused_when_its_owner_is_deactivated(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        headers = bearer(arrange.api_key(user, frozenset({"profile:read"})))
        arrange.execute(update(models.User).values(is_active=False))
        assert status_and_code(client.get(ME, headers=headers)) == (401, "invalid_token")

    def test_is_refused_after_its_expiry(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        headers = bearer(arrange.api_key(user, frozenset({"profile:read"})))
        expiry = update(models.ApiKey).values(expires_at=utc_now() + timedelta(minutes=1))
        arrange.execute(expiry)
        assert client.get(ME, headers=headers).status_code == 200
        arrange.execute(update(models.ApiKey).values(expires_at=utc_now()))
        assert status_and_code(client.get(ME, headers=headers)) == (401, "invalid_token")

    @pytest.mark.parametrize("key", ["ak_", "ak_unknown", "ak_" + "A" * 43, "ak_ü"])
    def test_is_refused_unless_it_is_stored(
        self, client: TestClient, user: Account, key: str
    ) -> None:
        headers = {b"Authorization": f"Bearer {key}".encode("latin-1")}
        response = client.get(ME, headers=headers)
        assert status_and_code(response) == (401, "invalid_token")
        assert "invalid_token" in response.headers["www-authenticate"]

    def test_outlives_the_sessions_of_its_owner(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        headers = bearer(arrange.api_key(user, frozenset({"profile:read"})))
        client.post("/api/v1/auth/logout", json={"refresh_token": user.refresh_token})
        assert client.get(ME, headers=headers).status_code == 200

    def test_records_its_last_use_to_the_minute(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        headers = bearer(arrange.api_key(user, frozenset({"profile:read"})))
        assert listed(client, user)[0]["last_used_at"] is None
        client.get(ME, headers=headers)
        first = listed(client, user)[0]["last_used_at"]
        client.get(ME, headers=headers)
        assert listed(client, user)[0]["last_used_at"] == first
        before = utc_now() - timedelta(minutes=1)
        arrange.execute(update(models.ApiKey).values(last_used_at=before))
        client.get(ME, headers=headers)
        assert datetime.fromisoformat(listed(client, user)[0]["last_used_at"]) > before


class TestListApiKeys:
    def test_returns_pages_of_own_keys_newest_first(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        names = [f"key {number}" for number in range(3)]
        for name in names:
            create(client, user, name=name)
        query: dict[str, Any] = {"limit": 2}
        first = client.get(KEYS, params=query, headers=user.headers).json()
        query["cursor"] = first["next_cursor"]
        rest = client.get(KEYS, params=query, headers=user.headers).json()
        assert [key["name"] for key in first["items"] + rest["items"]] == names[::-1]
        assert rest["next_cursor"] is None
        assert listed(client, arrange.account(role="admin")) == []


class TestRevokeApiKey:
    def test_takes_effect_at_once(self, client: TestClient, user: Account) -> None:
        key = create(client, user).json()
        headers = bearer(key["key"])
        assert client.get(ME, headers=headers).status_code == 200
        response = client.delete(f"{KEYS}/{key['id']}", headers=user.headers)
        assert (response.status_code, response.content) == (204, b"")
        assert status_and_code(client.get(ME, headers=headers)) == (401, "invalid_token")
        assert listed(client, user) == []
        assert create(client, user).status_code == 201  # its name is free

    def test_does_not_find_another_users_key(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        key = create(client, user).json()
        path = f"{KEYS}/{key['id']}"
        others = [arrange.account(), arrange.account(role="admin")]
        answers = [client.delete(path, headers=other.headers) for other in others]
        assert [status_and_code(answer) for answer in answers] == [(404, "api_key_not_found")] * 2
        assert client.get(ME, headers=bearer(key["key"])).status_code == 200
