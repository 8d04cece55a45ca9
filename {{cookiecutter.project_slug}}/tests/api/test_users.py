"""Accounts: your own and, for administrators, all."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import bindparam, func, select
from starlette.testclient import TestClient

from app import models, repositories
from app.api.deps.auth import get_principal
from app.core.config import LoggingSettings
from app.core.errors import PasswordHashingBusy
from app.core.ids import new_id
from app.core.logging import configure_logging
from app.domain.notifications import SendMail
from tests.support.arrange import PASSWORD, Account, Arrange, ArrangeSync, Jobs, bearer, gone
from tests.support.logs import logging_restored

USERS = "/api/v1/users"
ME = "/api/v1/users/me"
TOKEN = "/api/v1/auth/token"
NEW = {"email": "ada@example.com", "username": "ada", "password": PASSWORD}


def status_and_code(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def fields_of(response: httpx2.Response) -> list[str]:
    return [error["field"] for error in response.json()["errors"]]


def can_log_in(client: TestClient, username: str, password: str = PASSWORD) -> bool:
    response = client.post(TOKEN, data={"username": username, "password": password})
    return response.status_code == 200


@pytest.fixture
def user(arrange: ArrangeSync) -> Account:
    return arrange.account(full_name="Ada Lovelace")


@pytest.fixture
def admin(arrange: ArrangeSync) -> Account:
    return arrange.account(role="admin")


class TestRegister:
    def test_creates_an_account_that_can_log_in(
        self, client: TestClient, arrange: ArrangeSync
    ) -> None:
        response = client.post(USERS, json={**NEW, "full_name": "Ada Lovelace"})
        assert response.status_code == 201
        user = response.json()
        assert response.headers["location"] == f"{USERS}/{user['id']}"
        assert user["email"] == "ada@example.com"
        assert user["username"] == "ada"
        assert user["full_name"] == "Ada Lovelace"
        assert user["role"] == "user"
        assert user["is_active"] is True
        assert user["created_at"] == user["updated_at"]
        assert "password" not in user
        (row,) = arrange.rows(select(models.User.password_hash))
        assert row.password_hash.startswith("$argon2id$v=19$m=8,t=1,p=1$")
        assert can_log_in(client, "ada")

    def test_gives_ids_that_sort_by_creation(self, client: TestClient) -> None:
        names = ("ada", "bob", "cleo")
        accounts = [NEW | {"username": name, "email": f"{name}@example.com"} for name in names]
        ids = [UUID(client.post(USERS, json=account).json()["id"]) for account in accounts]
        assert ids == sorted(ids)
        assert {user_id.version for user_id in ids} == {7}

    def test_trims_text_and_lowercases_the_address(self, client: TestClient) -> None:
        body = {**NEW, "email": " Ada@Example.COM ", "username": " ada ", "full_name": " Ada "}
        user = client.post(USERS, json=body).json()
        assert (user["email"], user["username"]) == ("ada@example.com", "ada")
        assert user["full_name"] == "Ada"

    @pytest.mark.parametrize(
        ("taken", "code"),
        [
            ({"email": "ada@example.com"}, "email_taken"),
            ({"email": "ADA@Example.com"}, "email_taken"),
            ({"username": "ada"}, "username_taken"),
        ],
    )
    def test_refuses_a_taken_name_or_address(
        self, client: TestClient, taken: dict[str, str], code: str
    ) -> None:
        assert client.post(USERS, json=NEW).status_code == 201
        other = {"email": "grace@example.com", "username": "grace", "password": PASSWORD}
        assert status_and_code(client.post(USERS, json={**other, **taken})) == (409, code)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"email": "ada"}, "body.email"),
            ({"email": "a" * 250 + "@example.com"}, "body.email"),
            ({"email": "a" * 65 + "@example.com"}, "body.email"),
            ({"email": "Ada <ada@example.com>"}, "body.email"),
            ({"username": "ad"}, "body.username"),
            ({"username": "a" * 33}, "body.username"),
            ({"username": "Ada"}, "body.username"),
            ({"username": "ada@example.com"}, "body.username"),
            ({"username": ".ada"}, "body.username"),
            ({"username": "ada\nadmin"}, "body.username"),
            ({"username": "ада"}, "body.username"),
            ({"password": "Short1"}, "body.password"),
            ({"password": "Summer2026"}, "body.password"),
            ({"password": "A1" + "b" * 127}, "body.password"),
            ({"password": "Abcdef12\u0000"}, "body.password"),
            ({"password": 12345678}, "body.password"),
            ({"full_name": ""}, "body.full_name"),
            ({"full_name": "x" * 201}, "body.full_name"),
            ({"full_name": "Ada\u0000"}, "body.full_name"),
            ({"full_name": "Ada\u0085Lovelace"}, "body.full_name"),
            ({"full_name": "Ada\u2028Lovelace"}, "body.full_name"),
            ({"role": "admin"}, "body.role"),
            ({"is_active": True}, "body.is_active"),
            ({"id": str(new_id())}, "body.id"),
        ],
    )
    def test_refuses_an_invalid_body(
        self, client: TestClient, change: dict[str, Any], field: str
    ) -> None:
        response = client.post(USERS, json={**NEW, **change})
        assert status_and_code(response) == (422, "validation_error")
        assert fields_of(response) == [field]
        assert str(change.get("password", PASSWORD)) not in response.text

    def test_names_all_faults_of_a_password(self, client: TestClient) -> None:
        for password, need in {
            "--------": "to be less common",
            "Ada-1815": "8 characters besides the names of the account and service",
        }.items():
            response = client.post(USERS, json={**NEW, "password": password})
            (error,) = response.json()["errors"]
            assert (error["field"], error["code"]) == ("body.password", "weak_password")
            assert error["message"] == f"The password needs {need}"

    def test_answers_at_once_when_too_many_passwords_wait(
        self, client: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(app.state.resources.hasher._strangers, "_capacity", 0)
        response = client.post(USERS, json=NEW)
        assert status_and_code(response) == (503, PasswordHashingBusy.code)
        assert response.headers["retry-after"] == "1"

    async def test_gives_a_name_to_one_of_concurrent_requests(
        self, own_client: httpx2.AsyncClient
    ) -> None:
        bodies = [{**NEW, "email": f"ada{number}@example.com"} for number in range(4)]
        responses = await asyncio.gather(*(own_client.post(USERS, json=body) for body in bodies))
        codes = sorted(response.json().get("code", "created") for response in responses)
        assert codes == ["created", "username_taken", "username_taken", "username_taken"]


class TestListUsers:
    @pytest.fixture
    def support(self, arrange: ArrangeSync) -> Account:
        arrange.account(username="grace", email="c@example.com", role="admin")
        arrange.account(username="alan", email="b@example.com", is_active=False)
        return arrange.account(username="zoe", email="a@example.com", role="support")

    def names(self, client: TestClient, support: Account, **query: Any) -> list[str]:
        response = client.get(USERS, params=query, headers=support.headers)
        assert response.status_code == 200
        return [user["username"] for user in response.json()["items"]]

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({}, ["zoe", "alan", "grace"]),
            ({"sort": "created_at"}, ["grace", "alan", "zoe"]),
            ({"sort": "username"}, ["alan", "grace", "zoe"]),
            ({"sort": "-username"}, ["zoe", "grace", "alan"]),
            ({"sort": "email"}, ["zoe", "alan", "grace"]),
            ({"sort": "-email"}, ["grace", "alan", "zoe"]),
            ({"role": "admin"}, ["grace"]),
            ({"is_active": "false"}, ["alan"]),
            ({"is_active": "true", "role": "user"}, []),
        ],
    )
    def test_sorts_and_filters(
        self, client: TestClient, support: Account, query: dict[str, str], names: list[str]
    ) -> None:
        assert self.names(client, support, **query) == names

    @pytest.mark.parametrize("sort", ["created_at", "-created_at", "username", "-email"])
    def test_returns_consecutive_pages(
        self, client: TestClient, support: Account, sort: str
    ) -> None:
        whole = self.names(client, support, sort=sort)
        query: dict[str, Any] = {"sort": sort, "limit": 2}
        first = client.get(USERS, params=query, headers=support.headers).json()
        query["cursor"] = first["next_cursor"]
        rest = client.get(USERS, params=query, headers=support.headers).json()
        assert [user["username"] for user in first["items"] + rest["items"]] == whole
        assert rest["next_cursor"] is None


class TestGetProfile:
    def test_returns_the_current_user(self, client: TestClient, user: Account) -> None:
        response = client.get(ME, headers=user.headers)
        assert response.status_code == 200
        profile = response.json()
        assert profile["id"] == str(user.id)
        assert profile["full_name"] == "Ada Lovelace"


class TestChangeProfile:
    def change(self, client: TestClient, user: Account, **body: Any) -> httpx2.Response:
        return client.patch(ME, json=body, headers=user.headers)

    def test_updates_the_given_fields(self, client: TestClient, user: Account) -> None:
        response = self.change(client, user, full_name=" Ada King ")
        assert response.status_code == 200
        profile = response.json()
        assert profile["full_name"] == "Ada King"
        assert profile["email"] == user.email
        assert profile["updated_at"] > profile["created_at"]
        assert client.get(ME, headers=user.headers).json() == profile
        assert self.change(client, user).json() == profile
        assert self.change(client, user, full_name=None).json()["full_name"] is None

    def test_lets_the_new_address_log_in(
        self, client: TestClient, jobs: Jobs, user: Account
    ) -> None:
        assert self.change(client, user, email="New@Example.com").status_code == 200
        assert can_log_in(client, "new@example.com")
        assert not can_log_in(client, user.email)

    def test_notifies_both_addresses(self, client: TestClient, jobs: Jobs, user: Account) -> None:
        self.change(client, user, email="New@example.com")
        assert jobs() == [
            SendMail("email_changed", user.id, to=user.email),
            SendMail("email_changed", user.id, to="new@example.com"),
        ]

    @pytest.mark.parametrize("age", [240, 360])
    def test_requires_a_recent_login_only_for_a_new_address(
        self, client: TestClient, arrange: ArrangeSync, jobs: Jobs, age: int
    ) -> None:
        user = arrange.account(logged_in=timedelta(seconds=age))
        same = self.change(client, user, email=user.email.upper(), full_name="Ada King")
        assert same.status_code == 200
        response = self.change(client, user, email="new@example.com", full_name="Ada")
        assert response.status_code == (200 if age < 300 else 401)
        profile = client.get(ME, headers=user.headers).json()
        assert profile["full_name"] == ("Ada" if age < 300 else "Ada King")
        assert len(jobs()) == (2 if age < 300 else 0)

    def test_sends_no_mail_if_the_address_stays(
        self, client: TestClient, jobs: Jobs, user: Account
    ) -> None:
        self.change(client, user, email=user.email.upper(), full_name="Ada King")
        assert jobs() == []

    def test_refuses_a_taken_address(
        self, client: TestClient, jobs: Jobs, user: Account, admin: Account
    ) -> None:
        response = self.change(client, user, email=admin.email)
        assert status_and_code(response) == (409, "email_taken")
        assert jobs() == []
        assert client.get(ME, headers=user.headers).json()["email"] == user.email

    @pytest.mark.parametrize(
        "body",
        [
            {"email": None},
            {"email": "ada"},
            {"full_name": ""},
            {"username": "root"},
            {"role": "admin"},
            {"is_active": True},
            {"id": str(new_id())},
            {"password": PASSWORD},
            {"password_hash": "x"},
        ],
    )
    def test_refuses_invalid_values_and_other_fields(
        self, client: TestClient, user: Account, body: dict[str, Any]
    ) -> None:
        response = self.change(client, user, **body)
        assert status_and_code(response) == (422, "validation_error")


class TestDeleteAccount:
    def test_ends_all_access(self, client: TestClient, user: Account) -> None:
        response = client.delete(ME, headers=user.headers)
        assert (response.status_code, response.content) == (204, b"")
        assert client.get(ME, headers=user.headers).status_code == 401

    def test_notifies_the_owner(self, client: TestClient, jobs: Jobs, user: Account) -> None:
        assert client.delete(ME, headers=user.headers).status_code == 204
        assert SendMail("account_deleted", user.id, to=user.email) in jobs()


class TestChangePassword:
    NEW_PASSWORD = " Difference2Engine"

    def change(
        self,
        client: TestClient,
        user: Account,
        current: str = PASSWORD,
        new: str = NEW_PASSWORD,
        **more: Any,
    ) -> httpx2.Response:
        body = {"current_password": current, "new_password": new, **more}
        return client.put(f"{ME}/password", json=body, headers=user.headers)

    def test_replaces_the_old_password(self, client: TestClient, user: Account) -> None:
        response = self.change(client, user)
        assert (response.status_code, response.json()) == (200, {"api_keys": []})
        assert can_log_in(client, user.username, self.NEW_PASSWORD)
        assert not can_log_in(client, user.username)

    def test_ends_the_other_sessions_and_keeps_this_one(
        self, client: TestClient, user: Account, admin: Account
    ) -> None:
        form = {"username": user.username, "password": PASSWORD}
        other = client.post(TOKEN, data=form).json()
        assert self.change(client, user).status_code == 200
        assert client.get(ME, headers=bearer(other["access_token"])).status_code == 401
        refresh = "/api/v1/auth/refresh"
        stolen = client.post(refresh, json={"refresh_token": other["refresh_token"]})
        assert status_and_code(stolen) == (401, "invalid_refresh_token")
        assert client.get(ME, headers=user.headers).status_code == 200
        own = client.post(refresh, json={"refresh_token": user.refresh_token})
        assert own.status_code == 200
        assert client.get(ME, headers=admin.headers).status_code == 200

    @pytest.mark.parametrize(
        ("asked", "left"),
        [({}, 2), ({"revoke_api_keys": False}, 2), ({"revoke_api_keys": True}, 0)],
    )
    def test_shows_the_api_keys_and_revokes_them_if_asked(
        self, client: TestClient, arrange: ArrangeSync, user: Account, asked: Any, left: int
    ) -> None:
        other = arrange.api_key(arrange.account(), frozenset({"profile:read"}))
        keys = [arrange.api_key(user, frozenset({"profile:read"})) for _ in range(2)]
        response = self.change(client, user, **asked)
        shown = response.json()["api_keys"]
        assert [key["hint"] for key in shown] == [key[-4:] for key in reversed(keys)][:left]
        listed = client.get(f"{ME}/api-keys", headers=user.headers).json()["items"]
        assert listed == shown
        statuses = [client.get(ME, headers=bearer(key)).status_code for key in (*keys, other)]
        assert statuses == [200 if left else 401] * 2 + [200]

    def test_does_not_wait_for_strangers(
        self, client: TestClient, app: FastAPI, user: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(app.state.resources.hasher._strangers, "_capacity", 0)
        assert self.change(client, user).status_code == 200

    def test_notifies_the_owner(self, client: TestClient, jobs: Jobs, user: Account) -> None:
        self.change(client, user)
        assert jobs() == [SendMail("password_changed", user.id)]

    def test_refuses_a_wrong_current_password(
        self, client: TestClient, jobs: Jobs, user: Account
    ) -> None:
        response = self.change(client, user, current="Guessed1Password")
        assert status_and_code(response) == (403, "wrong_password")
        assert can_log_in(client, user.username)
        assert jobs() == []

    @pytest.mark.parametrize(
        ("current", "new", "field"),
        [
            (PASSWORD, "weak", "body.new_password"),
            (PASSWORD, "", "body.new_password"),
            (PASSWORD, "Summer2026", "body.new_password"),
            ("", "Difference2Engine", "body.current_password"),
            ("x" * 129, "Difference2Engine", "body.current_password"),
        ],
    )
    def test_refuses_an_invalid_body(
        self, client: TestClient, user: Account, current: str, new: str, field: str
    ) -> None:
        response = self.change(client, user, current, new)
        assert response.status_code == 422
        assert fields_of(response) == [field]

    def test_refuses_a_user_who_was_deleted_meanwhile(
        self, client: TestClient, app: FastAPI
    ) -> None:
        app.dependency_overrides[get_principal] = gone
        body = {"current_password": PASSWORD, "new_password": self.NEW_PASSWORD}
        response = client.put(f"{ME}/password", json=body)
        assert status_and_code(response) == (403, "wrong_password")

    def test_resets_failures_after_the_right_password(
        self, client: TestClient, user: Account
    ) -> None:
        current, new = PASSWORD, self.NEW_PASSWORD
        for _ in range(2):
            for _ in range(4):
                assert self.change(client, user, current="Wrong1Password").status_code == 403
            assert self.change(client, user, current, new).status_code == 200
            current, new = new, current

    def test_is_open_to_the_owner_of_a_stolen_session(
        self, client: TestClient, user: Account
    ) -> None:
        form = {"username": user.username, "password": PASSWORD}
        stolen = replace(user, access_token=client.post(TOKEN, data=form).json()["access_token"])
        guesses = [self.change(client, stolen, current="Wrong1Password") for _ in range(6)]
        assert [each.status_code for each in guesses] == [403] * 5 + [429]
        assert self.change(client, user).status_code == 200


class TestGetUser:
    def test_shows_any_user(self, client: TestClient, arrange: ArrangeSync, user: Account) -> None:
        support = arrange.account(role="support")
        response = client.get(f"{USERS}/{user.id}", headers=support.headers)
        assert response.status_code == 200
        assert response.json() == client.get(ME, headers=user.headers).json()

    @pytest.mark.parametrize("form", ["json", "console"])
    def test_logs_a_bug_with_its_traceback(
        self,
        client: TestClient,
        admin: Account,
        form: Literal["json", "console"],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        # It fails deep in SQLAlchemy.
        bug = select(models.User.id).where(models.User.id == bindparam("misspelt"))
        monkeypatch.setattr(repositories.users, "_BY_ID", bug)
        with logging_restored():
            configure_logging(LoggingSettings(format=form), production=False)
            assert client.get(f"{USERS}/{admin.id}", headers=admin.headers).status_code == 500
        log = capsys.readouterr().out
        way = (
            "return UserResponse.model_validate(await users.get(UserId(user_id)))",
            "profile = await self.users.get(user_id)",
            "return await self.one(_BY_ID, UserProfile, user_id=user_id)",
        )
        assert [line for line in way if line not in log] == []
        assert "A value is required for bind parameter" in log
        assert len(log) < 16_000


class TestAdministerUser:
    def change(
        self, client: TestClient, admin: Account, user: Account, **body: Any
    ) -> httpx2.Response:
        return client.patch(f"{USERS}/{user.id}", json=body, headers=admin.headers)

    def test_grants_a_role_from_the_next_login_on(
        self, client: TestClient, admin: Account, user: Account
    ) -> None:
        response = self.change(client, admin, user, role="support")
        assert response.status_code == 200
        assert response.json()["role"] == "support"
        # The issued token keeps its narrower scope.
        assert client.get(USERS, headers=user.headers).status_code == 403
        form = {"username": user.username, "password": PASSWORD}
        token = client.post(TOKEN, data=form).json()["access_token"]
        assert client.get(USERS, headers=bearer(token)).status_code == 200

    def test_is_not_for_support(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        support = arrange.account(role="support")
        response = self.change(client, support, user, role="support")
        assert status_and_code(response) == (403, "insufficient_scope")
        response = client.delete(f"{USERS}/{user.id}", headers=support.headers)
        assert status_and_code(response) == (403, "insufficient_scope")

    def test_revokes_a_role_from_the_next_request_on(
        self, client: TestClient, arrange: ArrangeSync, admin: Account
    ) -> None:
        other = arrange.account(role="admin")
        assert client.get(USERS, headers=other.headers).status_code == 200
        assert self.change(client, admin, other, role="user").status_code == 200
        assert client.get(USERS, headers=other.headers).status_code == 403
        assert client.get(ME, headers=other.headers).status_code == 200

    def test_deactivates_a_user_from_the_next_request_on(
        self, client: TestClient, admin: Account, user: Account
    ) -> None:
        response = self.change(client, admin, user, is_active=False)
        assert response.json()["is_active"] is False
        assert client.get(ME, headers=user.headers).status_code == 401
        assert not can_log_in(client, user.username)

    def test_reactivates_a_user_but_not_old_sessions(
        self, client: TestClient, admin: Account, user: Account
    ) -> None:
        self.change(client, admin, user, is_active=False)
        assert self.change(client, admin, user, is_active=True).json()["is_active"] is True
        assert client.get(ME, headers=user.headers).status_code == 401
        assert can_log_in(client, user.username)

    @pytest.mark.parametrize("body", [{"role": "user"}, {"role": "support"}, {"is_active": False}])
    def test_keeps_the_last_administrator(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        admin: Account,
        body: dict[str, Any],
    ) -> None:
        arrange.account(role="admin", is_active=False)
        response = self.change(client, admin, admin, **body)
        assert status_and_code(response) == (409, "last_administrator")
        for path in (ME, f"{USERS}/{admin.id}"):
            response = client.delete(path, headers=admin.headers)
            assert status_and_code(response) == (409, "last_administrator")
        assert client.get(USERS, headers=admin.headers).status_code == 200

    def test_lets_the_last_administrator_stay_one(self, client: TestClient, admin: Account) -> None:
        response = self.change(client, admin, admin, role="admin", is_active=True)
        assert response.status_code == 200

    async def test_keeps_one_of_two_administrators_who_demote_each_other(
        self, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        one, other = [await arrange_own.account(role="admin") for _ in range(2)]
        # Both have a connection, so that neither has to wait for its own.
        await asyncio.gather(*(own_client.get(ME, headers=it.headers) for it in (one, other)))
        responses = await asyncio.gather(
            own_client.patch(f"{USERS}/{one.id}", json={"role": "user"}, headers=other.headers),
            own_client.delete(f"{USERS}/{other.id}", headers=one.headers),
        )
        assert sum(response.is_success for response in responses) == 1
        administrators = select(func.count()).where(models.User.role == "admin")
        assert (await arrange_own.rows(administrators))[0][0] == 1

    @pytest.mark.parametrize(
        "body",
        [
            {"role": "root"},
            {"role": None},
            {"is_active": None},
            {"is_active": "perhaps"},
            {"email": "a@example.com"},
            {"password": PASSWORD},
        ],
    )
    def test_refuses_an_invalid_body(
        self, client: TestClient, admin: Account, user: Account, body: dict[str, Any]
    ) -> None:
        response = self.change(client, admin, user, **body)
        assert status_and_code(response) == (422, "validation_error")


class TestDeleteUser:
    def test_ends_all_access(
        self, client: TestClient, jobs: Jobs, admin: Account, user: Account
    ) -> None:
        response = client.delete(f"{USERS}/{user.id}", headers=admin.headers)
        assert (response.status_code, response.content) == (204, b"")
        assert client.get(ME, headers=user.headers).status_code == 401
        assert client.get(f"{USERS}/{user.id}", headers=admin.headers).status_code == 404
        assert SendMail("account_deleted", user.id, to=user.email) in jobs()
