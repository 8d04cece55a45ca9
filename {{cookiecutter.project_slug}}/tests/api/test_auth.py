"""Login, refresh and logout (rules SEC01, SEC04, SEC05, SEC11)."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
from argon2 import extract_parameters
from fastapi import FastAPI
from sqlalchemy import Update, select, update
from starlette.testclient import TestClient

from app import models
from app.api.deps.users import user_service
from app.core.clock import utc_now
from app.core.config import PasswordSettings
from app.core.security.passwords import PasswordHasher, Verification
from app.core.security.secrets import digest
from app.domain.permissions import ROLES, scope_of
from app.repositories.users import UserRepository
from tests.support.arrange import PASSWORD, Account, Arrange, ArrangeSync, bearer

API = "/api/v1"
TOKEN = "/api/v1/auth/token"
REFRESH = "/api/v1/auth/refresh"
LOGOUT = "/api/v1/auth/logout"
ME = "/api/v1/users/me"


def log_in(
    client: TestClient, username: str, password: str = PASSWORD, **form: str
) -> httpx2.Response:
    return client.post(TOKEN, data={"username": username, "password": password, **form})


def refresh(client: TestClient, token: str) -> httpx2.Response:
    return client.post(REFRESH, json={"refresh_token": token})


def log_out(client: TestClient, token: str) -> httpx2.Response:
    return client.post(LOGOUT, json={"refresh_token": token})


def status_and_code(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def is_let_in(client: TestClient, access_token: str) -> bool:
    return client.get(ME, headers=bearer(access_token)).status_code == 200


class SpyingHasher(PasswordHasher):
    """Records passwords and the hashes that they are checked against."""

    def __init__(self, settings: PasswordSettings) -> None:
        super().__init__(settings)
        self.verified: list[tuple[str, str | None]] = []

    async def verify(
        self, password: str, password_hash: str | None, *, known: bool = False
    ) -> Verification:
        self.verified.append((password, password_hash))
        return await super().verify(password, password_hash, known=known)


@pytest.fixture
def user(arrange: ArrangeSync) -> Account:
    return arrange.account(username="ada", email="ada@example.com")


class TestLogIn:
    def test_returns_a_pair_of_tokens(self, client: TestClient, user: Account) -> None:
        response = log_in(client, "ada")
        assert response.status_code == 200
        pair = response.json()
        assert pair["token_type"] == "bearer"
        assert pair["expires_in"] == 900
        assert pair["scope"] == scope_of(ROLES["user"])
        assert pair["refresh_token"].startswith("rt_")
        assert is_let_in(client, pair["access_token"])
        assert response.headers["cache-control"] == "no-store"  # RFC 6749 §5.1

    @pytest.mark.parametrize("name", ["ada", "ADA", " ada ", "ada@example.com", "Ada@Example.COM"])
    def test_accepts_username_or_address_in_any_case(
        self, client: TestClient, user: Account, name: str
    ) -> None:
        assert log_in(client, name).status_code == 200

    def test_refuses_a_repeated_field(self, client: TestClient, user: Account) -> None:
        fields = {"username": ["grace", "ada"], "password": PASSWORD}
        response = client.post(TOKEN, data=fields)
        assert status_and_code(response) == (422, "validation_error")
        (error,) = response.json()["errors"]
        assert error["field"] == "body.username"
        assert error["message"] == "The field occurs more than once"

    def test_does_not_trim_the_password(self, client: TestClient) -> None:
        new = {"email": "a@example.com", "username": "ada", "password": f" {PASSWORD} "}
        assert client.post("/api/v1/users", json=new).status_code == 201
        assert log_in(client, "ada", f" {PASSWORD} ").status_code == 200
        assert log_in(client, "ada", PASSWORD).status_code == 401

    @pytest.mark.parametrize(
        ("username", "password"),
        [
            pytest.param("ada", "Difference2Engine", id="a wrong password"),
            pytest.param("grace", PASSWORD, id="no such account"),
            pytest.param("alan", PASSWORD, id="an account that is not active"),
            pytest.param("%' OR 1=1 --", PASSWORD, id="an injection"),
        ],
    )
    def test_refuses_all_others_with_the_same_response(
        self, client: TestClient, arrange: ArrangeSync, user: Account, username: str, password: str
    ) -> None:
        arrange.account(username="alan", is_active=False)
        response = log_in(client, username, password)
        assert status_and_code(response) == (401, "invalid_credentials")
        assert response.json()["detail"] == "Incorrect username or password."
        assert response.headers["www-authenticate"] == "Bearer"

    def test_takes_the_same_path_without_an_account(
        self, client: TestClient, use: Callable[..., None], settings: Any, user: Account
    ) -> None:
        hasher = SpyingHasher(settings.passwords)
        use(hasher=hasher)
        assert log_in(client, "grace").status_code == 401
        assert log_in(client, "ada", "Difference2Engine").status_code == 401
        (nobody, somebody) = hasher.verified
        assert nobody == (PASSWORD, None)
        assert somebody[1] is not None

    @pytest.mark.parametrize(
        ("asked", "granted"),
        [
            ("profile:read", "profile:read"),
            ("profile:write profile:read", "profile:read profile:write"),
            ("profile:read users:write", "profile:read"),
            ("  ", scope_of(ROLES["user"])),
        ],
    )
    def test_grants_requested_permissions_of_the_role(
        self, client: TestClient, user: Account, asked: str, granted: str
    ) -> None:
        assert log_in(client, "ada", scope=asked).json()["scope"] == granted

    @pytest.mark.parametrize("asked", ["users:write", "unheard:of", "users:write users:read"])
    def test_refuses_a_scope_without_granted_permissions(
        self, client: TestClient, user: Account, asked: str
    ) -> None:
        response = log_in(client, "ada", scope=asked)
        assert status_and_code(response) == (422, "validation_error")
        assert [error["code"] for error in response.json()["errors"]] == ["invalid_scope"]

    def test_accepts_the_form_of_generic_clients(self, client: TestClient, user: Account) -> None:
        form = {"grant_type": "password", "scope": "", "client_id": "", "client_secret": ""}
        assert log_in(client, "ada", **form).status_code == 200

    @pytest.mark.parametrize(
        "form",
        [
            pytest.param({"password": PASSWORD}, id="no name"),
            pytest.param({"username": "ada"}, id="no password"),
            pytest.param({"username": "ada", "password": ""}, id="an empty password"),
            pytest.param({"username": "ada", "password": "x" * 129}, id="a long password"),
            pytest.param({"username": "a" * 255, "password": PASSWORD}, id="a long name"),
            pytest.param({"username": "a\nb", "password": PASSWORD}, id="two lines"),
            pytest.param(
                {"username": "ada", "password": PASSWORD, "grant_type": "implicit"},
                id="another grant",
            ),
            pytest.param(
                {"username": "ada", "password": PASSWORD, "role": "admin"}, id="unknown field"
            ),
        ],
    )
    def test_refuses_an_invalid_form(self, client: TestClient, form: dict[str, str]) -> None:
        response = client.post(TOKEN, data=form)
        assert status_and_code(response) == (422, "validation_error")
        assert PASSWORD not in response.text

    def test_stores_only_hashes_of_tokens(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        token = log_in(client, "ada").json()["refresh_token"]
        rows = arrange.rows(select(models.RefreshToken.token_hash))
        stored = {row.token_hash for row in rows}
        assert stored == {digest(user.refresh_token), digest(token)}

    def test_records_the_client(self, client: TestClient, user: Account) -> None:
        headers = {"User-Agent": "x" * 300}
        form = {"username": "ada", "password": PASSWORD}
        token = client.post(TOKEN, data=form, headers=headers).json()["access_token"]
        sessions = client.get("/api/v1/auth/sessions", headers=bearer(token)).json()["items"]
        assert sessions[0]["user_agent"] == "x" * 255
        assert sessions[0]["ip_address"] == "testclient"

    async def test_truncates_a_long_address(self, own_app: FastAPI, arrange_own: Arrange) -> None:
        """A proxy that we trust may send anything."""
        user = await arrange_own.account()
        transport = httpx2.ASGITransport(app=own_app, client=("f" * 300, 1))
        form = {"username": user.username, "password": PASSWORD}
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            assert (await client.post(TOKEN, data=form)).status_code == 200
        addresses = await arrange_own.rows(select(models.AuthSession.ip_address))
        assert "f" * 45 in {row.ip_address for row in addresses}


class TestRehash:
    @pytest.fixture
    def raised(self, use: Callable[..., None], settings: Any) -> int:
        passwords = settings.passwords.model_copy(update={"time_cost": 2})
        use(hasher=PasswordHasher(passwords))
        return 2

    def stored(self, arrange: ArrangeSync, user: Account) -> str:
        statement = select(models.User.password_hash).where(models.User.id == user.id)
        password_hash: str = arrange.rows(statement)[0].password_hash
        return password_hash

    def test_follows_raised_parameters_at_the_next_login(
        self, client: TestClient, arrange: ArrangeSync, user: Account, raised: int
    ) -> None:
        before = self.stored(arrange, user)
        assert log_in(client, "ada", "Difference2Engine").status_code == 401
        assert self.stored(arrange, user) == before
        assert log_in(client, "ada").status_code == 200
        assert extract_parameters(self.stored(arrange, user)).time_cost == raised
        assert log_in(client, "ada").status_code == 200

    def test_leaves_a_current_hash_alone(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        before = self.stored(arrange, user)
        assert log_in(client, "ada").status_code == 200
        assert self.stored(arrange, user) == before


class TestRefresh:
    def test_returns_a_new_pair(self, client: TestClient, user: Account) -> None:
        response = refresh(client, user.refresh_token)
        assert response.status_code == 200
        pair = response.json()
        assert pair["refresh_token"] != user.refresh_token
        assert pair["scope"] == scope_of(ROLES["user"])
        assert is_let_in(client, pair["access_token"])
        assert refresh(client, pair["refresh_token"]).status_code == 200
        assert is_let_in(client, user.access_token)

    def test_prolongs_its_session(self, client: TestClient, user: Account) -> None:
        before = client.get("/api/v1/auth/sessions", headers=user.headers).json()["items"]
        headers = {"User-Agent": "another"}
        client.post(REFRESH, json={"refresh_token": user.refresh_token}, headers=headers)
        after = client.get("/api/v1/auth/sessions", headers=user.headers).json()["items"]
        assert [one["id"] for one in before] == [one["id"] for one in after]
        assert after[0]["expires_at"] > before[0]["expires_at"]
        assert after[0]["last_used_at"] > before[0]["last_used_at"]
        assert after[0]["user_agent"] == "another"

    def test_keeps_a_narrow_scope_narrow(self, client: TestClient, user: Account) -> None:
        pair = log_in(client, "ada", scope="profile:read").json()
        assert refresh(client, pair["refresh_token"]).json()["scope"] == "profile:read"

    def test_grants_only_current_permissions_of_the_role(
        self, client: TestClient, arrange: ArrangeSync
    ) -> None:
        admin, other = arrange.account(role="admin"), arrange.account(role="admin")
        demotion = {"role": "support"}
        path = f"/api/v1/users/{other.id}"
        assert client.patch(path, json=demotion, headers=admin.headers).status_code == 200
        pair = refresh(client, other.refresh_token).json()
        assert pair["scope"] == scope_of(ROLES["support"])

    def test_refuses_a_replayed_token_and_ends_the_whole_family(
        self, client: TestClient, user: Account
    ) -> None:
        pair = refresh(client, user.refresh_token).json()
        replay = refresh(client, user.refresh_token)
        assert status_and_code(replay) == (401, "refresh_token_reused")
        # What the 401 left behind is there: neither the thief nor the owner comes in.
        again = refresh(client, pair["refresh_token"])
        assert status_and_code(again) == (401, "invalid_refresh_token")
        assert not is_let_in(client, pair["access_token"])
        assert not is_let_in(client, user.access_token)

    def test_leaves_other_sessions_alone_when_one_is_stolen(
        self, client: TestClient, user: Account
    ) -> None:
        other = log_in(client, "ada").json()
        refresh(client, user.refresh_token)
        refresh(client, user.refresh_token)
        assert is_let_in(client, other["access_token"])
        assert refresh(client, other["refresh_token"]).status_code == 200

    @pytest.mark.parametrize("token", ["rt_unknown", "x", "ak_" + "x" * 43, "eyJ.e30.x", "x" * 255])
    def test_refuses_an_unknown_token(self, client: TestClient, user: Account, token: str) -> None:
        response = refresh(client, token)
        assert status_and_code(response) == (401, "invalid_refresh_token")
        assert token not in response.text

    @pytest.mark.parametrize(
        "ended",
        [
            update(models.AuthSession).values(expires_at=utc_now() - timedelta(seconds=1)),
            update(models.AuthSession).values(revoked_at=utc_now()),
            update(models.User).values(is_active=False),
        ],
        ids=["expired", "revoked", "deactivated user"],
    )
    def test_refuses_the_token_of_a_session_that_has_ended(
        self, client: TestClient, arrange: ArrangeSync, user: Account, ended: Update
    ) -> None:
        arrange.execute(ended)
        response = refresh(client, user.refresh_token)
        assert status_and_code(response) == (401, "invalid_refresh_token")


class TestLifetime:
    """Lifetime of a session, in days since its login and its last use."""

    @pytest.mark.parametrize(("age", "days"), [(0, 14), (16, 30), (17, 30), (29, 30)])
    def test_is_prolonged_by_a_refresh_up_to_its_end(
        self, client: TestClient, arrange: ArrangeSync, age: int, days: int
    ) -> None:
        user = arrange.account(logged_in=timedelta(days=age))
        assert refresh(client, user.refresh_token).status_code == 200
        (session,) = client.get(f"{API}/auth/sessions", headers=user.headers).json()["items"]
        created, ends = (
            datetime.fromisoformat(session[name]) for name in ("created_at", "expires_at")
        )
        assert timedelta(days=days) <= ends - created < timedelta(days=days, minutes=5)

    def test_follows_a_setting_that_was_lowered(
        self, client: TestClient, arrange: ArrangeSync
    ) -> None:
        user = arrange.account(logged_in=timedelta(days=30))
        response = refresh(client, user.refresh_token)
        assert status_and_code(response) == (401, "invalid_refresh_token")

    def test_starts_as_that_of_an_unused_session(self, client: TestClient, user: Account) -> None:
        token = log_in(client, "ada").json()["access_token"]
        session = client.get(f"{API}/auth/sessions", headers=bearer(token)).json()["items"][0]
        created, ends = (
            datetime.fromisoformat(session[name]) for name in ("created_at", "expires_at")
        )
        assert ends - created == timedelta(days=14)


class TestStepUp:
    def step_up(self, client: TestClient, token: str, password: str = PASSWORD) -> httpx2.Response:
        body = {"password": password}
        return client.post(f"{API}/auth/step-up", json=body, headers=bearer(token))

    def may_delete(self, client: TestClient, token: str) -> bool:
        """Return whether a token is a recent login: otherwise deleting the last admin is a 401."""
        status = client.delete(ME, headers=bearer(token)).status_code
        assert status in {401, 409}
        return status == 409

    def test_returns_a_token_that_counts_as_a_recent_login(
        self, client: TestClient, arrange: ArrangeSync
    ) -> None:
        admin = arrange.account(role="admin", logged_in=timedelta(seconds=301))
        assert not self.may_delete(client, admin.access_token)
        response = self.step_up(client, admin.access_token)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        body = response.json()
        assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}
        assert (body["expires_in"], body["scope"]) == (900, scope_of(ROLES["admin"]))
        assert self.may_delete(client, body["access_token"])
        assert not self.may_delete(client, admin.access_token)

    def test_does_not_make_refreshed_tokens_recent(
        self, client: TestClient, arrange: ArrangeSync
    ) -> None:
        old = arrange.account(role="admin", logged_in=timedelta(seconds=301))
        assert self.step_up(client, old.access_token).status_code == 200
        pair = refresh(client, old.refresh_token).json()
        assert not self.may_delete(client, pair["access_token"])

    def test_is_not_needed_after_a_login_nor_after_its_refresh(
        self, client: TestClient, arrange: ArrangeSync
    ) -> None:
        admin = arrange.account(role="admin")
        pair = log_in(client, admin.username).json()
        assert self.may_delete(client, pair["access_token"])
        pair = refresh(client, pair["refresh_token"]).json()
        assert self.may_delete(client, pair["access_token"])

    def test_grants_no_more_than_the_token(self, client: TestClient, arrange: ArrangeSync) -> None:
        narrow = arrange.account(permissions=frozenset({"account:manage", "profile:read"}))
        body = self.step_up(client, narrow.access_token).json()
        assert body["scope"] == "account:manage profile:read"

    def test_ends_with_the_session(self, client: TestClient, user: Account) -> None:
        token = self.step_up(client, user.access_token).json()["access_token"]
        assert is_let_in(client, token)
        log_out(client, user.refresh_token)
        assert not is_let_in(client, token)

    def test_shares_its_limit_with_password_changes(
        self, client: TestClient, user: Account
    ) -> None:
        for _ in range(4):
            response = self.step_up(client, user.access_token, "Wrong1Password")
            assert status_and_code(response) == (403, "wrong_password")
        change = {"current_password": "Wrong1Password", "new_password": "Difference2Engine"}
        wrong = client.put(f"{ME}/password", json=change, headers=user.headers)
        assert status_and_code(wrong) == (403, "wrong_password")
        response = self.step_up(client, user.access_token)
        assert status_and_code(response) == (429, "too_many_login_attempts")
        assert log_in(client, "ada").status_code == 200

    async def test_refuses_a_password_that_was_changed_meanwhile(
        self, own_client: httpx2.AsyncClient, own_app: FastAPI, arrange_own: Arrange
    ) -> None:
        user = await arrange_own.account()
        hasher = own_app.state.resources.hasher
        verify = hasher.verify

        async def verify_meanwhile(*arguments: Any, **options: Any) -> Verification:
            await arrange_own.execute(update(models.User).values(password_hash="changed"))
            checked: Verification = await verify(*arguments, **options)
            return checked

        hasher.verify = verify_meanwhile
        body = {"password": PASSWORD}
        response = await own_client.post(f"{API}/auth/step-up", json=body, headers=user.headers)
        assert status_and_code(response) == (403, "wrong_password")


class TestConcurrency:
    async def test_one_of_many_refreshes_at_once_succeeds(
        self, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        user = await arrange_own.account()
        body = {"refresh_token": user.refresh_token}
        responses = await asyncio.gather(*(own_client.post(REFRESH, json=body) for _ in range(5)))
        codes = sorted(response.json().get("code", "success") for response in responses)
        assert codes == ["refresh_token_reused"] * 4 + ["success"]
        assert (await own_client.get(ME, headers=user.headers)).status_code == 401

    async def test_logins_at_once_succeed_while_the_hash_is_renewed(
        self, own_client: httpx2.AsyncClient, own_app: FastAPI, arrange_own: Arrange
    ) -> None:
        user = await arrange_own.account()
        passwords = own_app.state.resources.settings.passwords
        own_app.state.resources.hasher._argon2 = PasswordHasher(
            passwords.model_copy(update={"time_cost": 2})
        )._argon2
        form = {"username": user.username, "password": PASSWORD}
        responses = await asyncio.gather(*(own_client.post(TOKEN, data=form) for _ in range(4)))
        assert [response.status_code for response in responses] == [200] * 4

    async def test_a_login_fails_if_its_account_changes_meanwhile(
        self, own_client: httpx2.AsyncClient, own_app: FastAPI, arrange_own: Arrange
    ) -> None:
        """Deactivate the account while its password is being verified."""
        user = await arrange_own.account()
        resources = own_app.state.resources
        hasher = resources.hasher
        verify = hasher.verify

        async def verify_meanwhile(*arguments: Any, **options: Any) -> Verification:
            async with resources.database.transaction() as session:
                users = user_service(resources, UserRepository(session))
                await users.update(user.id, {"is_active": False})
            checked: Verification = await verify(*arguments, **options)
            return checked

        hasher.verify = verify_meanwhile
        form = {"username": user.username, "password": PASSWORD}
        response = await own_client.post(TOKEN, data=form)
        assert status_and_code(response) == (401, "invalid_credentials")
        live = select(models.AuthSession.id).where(models.AuthSession.revoked_at.is_(None))
        assert await arrange_own.rows(live) == []


class TestLogOut:
    def test_ends_the_session_at_once(self, client: TestClient, user: Account) -> None:
        other = log_in(client, "ada").json()
        for token in (user.refresh_token, user.refresh_token, "rt_unknown"):
            response = log_out(client, token)
            assert (response.status_code, response.content) == (204, b"")
        assert is_let_in(client, other["access_token"])
        assert not is_let_in(client, user.access_token)
        again = refresh(client, user.refresh_token)
        assert status_and_code(again) == (401, "invalid_refresh_token")

    def test_accepts_a_used_token(self, client: TestClient, user: Account) -> None:
        pair = refresh(client, user.refresh_token).json()
        assert log_out(client, user.refresh_token).status_code == 204
        assert not is_let_in(client, pair["access_token"])
