"""Attacks, as requests (rules SEC01 to SEC14)."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from itertools import cycle
from typing import Any
from uuid import UUID

import httpx2
import jwt
import pytest
from fastapi import FastAPI
from sqlalchemy import delete, select, update
from starlette.testclient import TestClient

from app import models
from app.config import Settings
from app.core.clock import utc_now
from app.core.config import LoggingSettings, RateLimitSettings, ThrottleSettings
from app.core.ids import new_id
from app.core.logging import configure_logging
from app.core.security.keys import SigningKeys
from app.core.security.passwords import PasswordHasher, Verification
from app.core.security.secrets import new_device_token
from app.domain.permissions import PERMISSIONS, scope_of
from app.infrastructure.limits import RateLimiter
from app.main import create_app
from tests.support.answers import Recorded
from tests.support.arrange import PASSWORD, Account, Arrange, ArrangeSync, bearer
from tests.support.logs import logging_restored
from tests.support.resources import replaced
from tests.support.waiting import eventually

API = "/api/v1"
ME = "/api/v1/users/me"
USERS = "/api/v1/users"
TOKEN = "/api/v1/auth/token"
REFRESH = "/api/v1/auth/refresh"
JWKS = "/.well-known/jwks.json"
WRONG = "Difference2Engine"

Forge = Callable[..., str]
Serve = Callable[[SigningKeys], AbstractAsyncContextManager[httpx2.AsyncClient]]
LogInFrom = Callable[..., Coroutine[Any, Any, httpx2.Response]]

HOME = "203.0.113.1"  # a network that the owner has logged in from
TOO_MANY = (429, "too_many_login_attempts")


def status_and_code(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def log_in(client: TestClient, username: str, password: str = PASSWORD) -> httpx2.Response:
    return client.post(TOKEN, data={"username": username, "password": password})


@pytest.fixture
def user(arrange: ArrangeSync) -> Account:
    return arrange.account(username="ada", email="ada@example.com")


@pytest.fixture
def admin(arrange: ArrangeSync) -> Account:
    return arrange.account(role="admin")


class TestForgedTokens:
    @pytest.fixture
    def forge(self, app: FastAPI, user: Account) -> Forge:
        """Sign a token with all permissions, but for what a test changes."""

        def forged(user_id: UUID = user.id, session_id: UUID = user.session_id) -> str:
            scope, tokens = scope_of(frozenset(PERMISSIONS)), app.state.resources.tokens
            token: str = tokens.issue(user_id, session_id, scope, utc_now())
            return token

        return forged

    def test_of_another_user_or_session_are_refused(
        self, client: TestClient, forge: Forge, admin: Account
    ) -> None:
        assert client.get(ME, headers=bearer(forge())).status_code == 200
        for token in (forge(new_id()), forge(session_id=new_id()), forge(admin.id)):
            response = client.get(ME, headers=bearer(token))
            assert status_and_code(response) == (401, "invalid_token")

    def test_grant_nothing_beyond_the_role(self, client: TestClient, forge: Forge) -> None:
        assert client.get(USERS, headers=bearer(forge())).status_code == 403

    @pytest.mark.parametrize("scheme", ["Basic", "Token", "bearer,", ""])
    def test_require_the_bearer_scheme(
        self, client: TestClient, user: Account, scheme: str
    ) -> None:
        headers = {"Authorization": f"{scheme} {user.access_token}".strip()}
        assert status_and_code(client.get(ME, headers=headers)) == (401, "unauthenticated")

    def test_are_not_read_from_cookies_or_the_query(
        self, client: TestClient, user: Account
    ) -> None:
        client.cookies.set("access_token", user.access_token)
        response = client.get(ME, params={"access_token": user.access_token})
        assert status_and_code(response) == (401, "unauthenticated")


class TestAccessEnds:
    """Access ends with the next request, before the token expires."""

    @pytest.mark.parametrize(
        "statement",
        [
            pytest.param(update(models.User).values(is_active=False), id="kept out"),
            pytest.param(delete(models.User), id="deleted"),
            pytest.param(update(models.AuthSession).values(revoked_at=utc_now()), id="revoked"),
            pytest.param(update(models.AuthSession).values(expires_at=utc_now()), id="over"),
        ],
    )
    def test_for_ended_sessions_and_inactive_users(
        self, client: TestClient, arrange: ArrangeSync, user: Account, statement: Any
    ) -> None:
        assert client.get(ME, headers=user.headers).status_code == 200
        arrange.execute(statement)
        response = client.get(ME, headers=user.headers)
        assert status_and_code(response) == (401, "invalid_token")


class TestKeys:
    @pytest.fixture
    def serve(
        self, make_settings: Callable[..., Settings], own_database_url: str, recorded: Recorded
    ) -> Serve:
        """Start the service with these keys on the database of the test."""

        @asynccontextmanager
        async def started(keys: SigningKeys) -> AsyncIterator[httpx2.AsyncClient]:
            auth = {"signing_keys": keys.to_json()}
            app = recorded(create_app(make_settings(own_database_url, auth=auth)))
            transport = httpx2.ASGITransport(app=app)
            async with (
                app.router.lifespan_context(app),
                httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client,
            ):
                yield client

        return started

    async def logged_in(self, client: httpx2.AsyncClient) -> dict[str, str]:
        form = {"username": "ada", "password": PASSWORD}
        pair: dict[str, str] = (await client.post(TOKEN, data=form)).json()
        return pair

    async def registered(self, client: httpx2.AsyncClient) -> dict[str, str]:
        body = {"email": "ada@example.com", "username": "ada", "password": PASSWORD}
        assert (await client.post(USERS, json=body)).status_code == 201
        return await self.logged_in(client)

    async def status(self, client: httpx2.AsyncClient, pair: dict[str, str]) -> int:
        return (await client.get(ME, headers=bearer(pair["access_token"]))).status_code

    async def test_are_published_without_their_private_part(self, serve: Serve) -> None:
        keys = SigningKeys.generate().add()
        async with serve(keys) as client:
            response = await client.get(JWKS)
            pair = await self.registered(client)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "public, max-age=300"
        published = response.json()["keys"]
        assert [key["kid"] for key in published] == list(keys.kids)
        assert not [key for key in published if "d" in key]
        # Another service can verify tokens with the published keys alone.
        key = jwt.PyJWK(published[0])
        claims = jwt.decode(pair["access_token"], key, ["ES256"], options={"verify_aud": False})
        assert claims["scope"] == pair["scope"]

    async def test_that_were_removed_are_refused_despite_the_cache(self, serve: Serve) -> None:
        keys = SigningKeys.generate()
        async with serve(keys) as before, serve(SigningKeys.generate()) as after:
            pair = await self.registered(before)
            assert [await self.status(before, pair) for _ in range(2)] == [200, 200]
            assert await self.status(after, pair) == 401
            # The session itself goes on.
            body = {"refresh_token": pair["refresh_token"]}
            renewed = (await after.post(REFRESH, json=body)).json()
            assert await self.status(after, renewed) == 200


class Gate:
    """A hasher that verifies one password at a time, on request."""

    def __init__(self, hasher: PasswordHasher) -> None:
        self._hasher = hasher
        self._waiting = 0
        self._open = asyncio.Semaphore(0)

    async def verify(self, *arguments: Any, **options: Any) -> Verification:
        self._waiting += 1
        await self._open.acquire()
        return await self._hasher.verify(*arguments, **options)

    def let_one_in(self) -> None:
        self._open.release()

    async def has_waiting(self, count: int) -> None:
        async def it_has() -> bool:
            return self._waiting == count

        await eventually(it_has, f"{count} passwords wait")


class TestThrottle:
    @pytest.fixture(autouse=True)
    def _patience(self, use: Callable[..., None], settings: Settings) -> None:
        """Settings with waits longer than any test."""
        use(settings=self.patient(settings))

    @pytest.fixture
    def own_app(self, own_app: FastAPI) -> FastAPI:
        resources = own_app.state.resources
        own_app.state.resources = replaced(resources, settings=self.patient(resources.settings))
        return own_app

    def patient(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"throttle": ThrottleSettings(base_seconds=60)})

    def stored_failures(self, arrange: ArrangeSync) -> list[int]:
        statement = select(models.LoginThrottle.failures).order_by(models.LoginThrottle.failures)
        return [row.failures for row in arrange.rows(statement)]

    @pytest.fixture
    async def log_in_from(self, own_app: FastAPI, arrange_own: Arrange) -> LogInFrom:
        """Log in from an address; Ada exists."""
        await arrange_own.account(username="ada", email="ada@example.com")

        async def sent(
            address: str, password: str = PASSWORD, username: str = "ada", device: str = ""
        ) -> httpx2.Response:
            transport = httpx2.ASGITransport(app=own_app, client=(address, 4321))
            headers = {"Device-Token": device} if device else {}
            form = {"username": username, "password": password}
            async with httpx2.AsyncClient(
                transport=transport, base_url=f"http://testserver{API}"
            ) as client:
                return await client.post("/auth/token", data=form, headers=headers)

        return sent

    def test_counts_failures_per_account_and_network_and_per_each(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        assert log_in(client, "ada", WRONG).status_code == 401
        assert log_in(client, "grace", WRONG).status_code == 401
        assert self.stored_failures(arrange) == [1, 1, 1, 1, 2]

    @pytest.mark.parametrize("username", ["ada", "nobody"])
    def test_slows_down_guesses_whether_or_not_the_account_exists(
        self, client: TestClient, user: Account, username: str
    ) -> None:
        answers = [log_in(client, username, WRONG) for _ in range(6)]
        assert [each.status_code for each in answers] == [401] * 5 + [429]
        assert answers[-1].json()["code"] == "too_many_login_attempts"
        assert 50 < int(answers[-1].headers["retry-after"]) <= 60
        assert log_in(client, username).status_code == 429, "whatever the password"

    def test_counts_username_and_address_together(self, client: TestClient, user: Account) -> None:
        names = ["ada", "ada@example.com", "ADA", "Ada@example.com", "ada"]
        assert {log_in(client, name, WRONG).status_code for name in names} == {401}
        assert log_in(client, "ada@example.com").status_code == 429

    def test_resets_failures_after_a_login(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        for _ in range(4):
            log_in(client, "ada", WRONG)
        assert log_in(client, "ada").status_code == 200
        # The last but one makes the network known, the last two stay.
        assert self.stored_failures(arrange) == [0, 0, 4, 4]
        assert {log_in(client, "ada", WRONG).status_code for _ in range(4)} == {401}

    def test_counts_no_login_that_succeeds(self, client: TestClient, user: Account) -> None:
        assert {log_in(client, "ada").status_code for _ in range(20)} == {200}

    @pytest.mark.parametrize("address", [HOME, "203.0.113.2", "2001:db8:1::1"])
    async def test_lets_the_owner_in_while_two_strangers_guess(
        self, log_in_from: LogInFrom, address: str
    ) -> None:
        await log_in_from(HOME)
        for stranger in ("198.51.100.1", "198.51.100.2"):
            answers = [await log_in_from(stranger, WRONG) for _ in range(6)]
            assert [each.status_code for each in answers] == [401] * 5 + [429]
        assert (await log_in_from(address)).status_code == 200

    @pytest.mark.parametrize("name", ["ada", "nobody"])
    async def test_allows_100_failures_a_day_from_all_unknown_networks(
        self, log_in_from: LogInFrom, name: str
    ) -> None:
        guesses = [await log_in_from(f"198.51.100.{each // 5}", WRONG, name) for each in range(100)]
        assert {each.status_code for each in guesses} == {401}
        refused = await log_in_from("198.51.100.20", PASSWORD, name)
        assert status_and_code(refused) == TOO_MANY
        assert 86_300 < int(refused.headers["retry-after"]) <= 86_400

    async def test_admits_known_networks_and_devices_beyond_the_daily_limit(
        self, own_app: FastAPI, log_in_from: LogInFrom
    ) -> None:
        self.allow(own_app, daily_failures=1)
        device = (await log_in_from(HOME)).json()["device_token"]
        await log_in_from("198.51.100.1", WRONG)
        assert status_and_code(await log_in_from("198.51.100.2")) == TOO_MANY
        assert (await log_in_from(HOME)).status_code == 200
        let_in = await log_in_from("198.51.100.2", device=device)
        assert (let_in.status_code, let_in.json()["device_token"]) == (200, device)
        assert (await log_in_from("198.51.100.2")).status_code == 200, "known by now"

    async def test_forgets_a_network_after_30_days(
        self, own_app: FastAPI, log_in_from: LogInFrom, arrange_own: Arrange
    ) -> None:
        self.allow(own_app, daily_failures=1)
        for days, expected in ((29, 200), (31, 429)):
            await log_in_from(HOME)
            shift = timedelta(days=days)
            for row in await arrange_own.rows(select(models.LoginThrottle)):
                earlier = update(models.LoginThrottle).values(expires_at=row.expires_at - shift)
                await arrange_own.execute(earlier.where(models.LoginThrottle.key == row.key))
            await log_in_from("198.51.100.1", WRONG)
            assert (await log_in_from(HOME)).status_code == expected

    async def test_learns_a_network_by_the_password_only(
        self, own_app: FastAPI, log_in_from: LogInFrom
    ) -> None:
        self.allow(own_app, daily_failures=1)
        await log_in_from("198.51.100.1", WRONG, "grace")
        await log_in_from("198.51.100.1", WRONG)
        for number in (1, 2):
            assert status_and_code(await log_in_from(f"198.51.100.{number}")) == TOO_MANY

    @pytest.mark.parametrize("address", [HOME, "198.51.100.1"])
    async def test_counts_a_known_device_separately(
        self, own_app: FastAPI, log_in_from: LogInFrom, address: str
    ) -> None:
        self.allow(own_app, daily_failures=4)
        device = (await log_in_from(HOME)).json()["device_token"]
        answers = [await log_in_from(address, WRONG, device=device) for _ in range(6)]
        assert [each.status_code for each in answers] == [401] * 5 + [429]
        for other in (HOME, "198.51.100.2"):
            assert status_and_code(await log_in_from(other, device=device)) == TOO_MANY
            assert (await log_in_from(other)).status_code == 200

    async def test_counts_a_known_network_separately(
        self, own_app: FastAPI, log_in_from: LogInFrom
    ) -> None:
        self.allow(own_app, daily_failures=4)
        await log_in_from(HOME)
        answers = [await log_in_from(HOME, WRONG) for _ in range(6)]
        assert [each.status_code for each in answers] == [401] * 5 + [429]
        assert (await log_in_from("198.51.100.2")).status_code == 200

    @pytest.mark.parametrize(
        ("username", "forge"),
        [
            pytest.param("ada", lambda token: f"dt_{token[4:]}{token[3]}", id="forged"),
            pytest.param("ada", lambda _: "x", id="malformed"),
            pytest.param("grace", lambda token: token, id="another account"),
            pytest.param("nobody", lambda _: new_device_token(new_id(), ""), id="no account"),
        ],
    )
    async def test_ignores_other_device_tokens(
        self,
        own_app: FastAPI,
        log_in_from: LogInFrom,
        arrange_own: Arrange,
        username: str,
        forge: Callable[[str], str],
    ) -> None:
        self.allow(own_app, daily_failures=1)
        await arrange_own.account(username="grace")
        token = forge((await log_in_from(HOME)).json()["device_token"])
        assert (await log_in_from("198.51.100.1", WRONG, username, token)).status_code == 401
        refused = await log_in_from("198.51.100.2", PASSWORD, username, token)
        assert status_and_code(refused) == TOO_MANY

    async def test_forgets_devices_after_a_password_change(
        self, own_app: FastAPI, own_client: httpx2.AsyncClient, log_in_from: LogInFrom
    ) -> None:
        self.allow(own_app, daily_failures=1)
        before = (await log_in_from(HOME)).json()
        body = {"current_password": PASSWORD, "new_password": "Guessed1Password"}
        headers = bearer(before["access_token"])
        changed = await own_client.put(f"{ME}/password", json=body, headers=headers)
        assert changed.is_success
        after = (await log_in_from(HOME, body["new_password"])).json()
        await log_in_from("198.51.100.1", WRONG)
        statuses = [
            (await log_in_from("198.51.100.2", body["new_password"], device=token)).status_code
            for token in (before["device_token"], after["device_token"])
        ]
        assert statuses == [429, 200]

    @pytest.mark.parametrize(
        ("addresses", "failures"),
        [
            pytest.param(["203.0.113.9"], 20, id="an address"),
            pytest.param(["2001:db8::1", "2001:db8::ffff:2"], 20, id="a /64"),
            pytest.param([f"2001:db8:0:{number:x}::1" for number in range(9)], 80, id="a /48"),
            pytest.param(["::ffff:203.0.113.9", "203.0.113.9"], 20, id="an IPv4-mapped address"),
            pytest.param(["unknown"], 20, id="a socket"),
        ],
    )
    async def test_limits_a_network_over_all_accounts(
        self, log_in_from: LogInFrom, addresses: list[str], failures: int
    ) -> None:
        origins = cycle(addresses)
        for number in range(failures):
            guess = await log_in_from(next(origins), WRONG, f"user-{number}")
            assert guess.status_code == 401
        assert {status_and_code(await log_in_from(each)) for each in addresses} == {TOO_MANY}
        for other in ("203.0.113.10", "2001:db8:1::1"):
            assert (await log_in_from(other)).status_code == 200

    async def test_limits_a_site_over_all_its_networks(self, log_in_from: LogInFrom) -> None:
        guesses = [await log_in_from(f"2001:db8:0:{number:x}::1", WRONG) for number in range(21)]
        assert [each.status_code for each in guesses] == [401] * 20 + [429]
        assert (await log_in_from("2001:db8:1::1")).status_code == 200

    async def test_counts_all_concurrent_failures(
        self, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        form = {"username": "nobody", "password": WRONG}
        await asyncio.gather(*(own_client.post(TOKEN, data=form) for _ in range(4)))
        rows = await arrange_own.rows(select(models.LoginThrottle.failures))
        assert [row.failures for row in rows] == [4, 4, 4]

    @pytest.mark.parametrize("networks", [1, 8])
    async def test_limits_concurrent_guesses(
        self, own_app: FastAPI, log_in_from: LogInFrom, networks: int
    ) -> None:
        self.allow(own_app, daily_failures=5)
        gate = Gate(own_app.state.resources.hasher)
        own_app.state.resources = replaced(own_app.state.resources, hasher=gate)
        passwords = [WRONG] * 7 + [PASSWORD]
        async with asyncio.TaskGroup() as guesses:
            sent = []
            for number, password in enumerate(passwords, start=1):
                address = f"198.51.100.{number % networks}"
                sent.append(guesses.create_task(log_in_from(address, password)))
                await gate.has_waiting(number)
            for guess in sent:
                gate.let_one_in()
                await guess

        assert [guess.result().status_code for guess in sent] == [401] * 5 + [429] * 3

    def allow(self, app: FastAPI, **settings: int) -> None:
        throttle = ThrottleSettings(base_seconds=60, **settings)
        resources = app.state.resources
        changed = resources.settings.model_copy(update={"throttle": throttle})
        app.state.resources = replaced(resources, settings=changed)


class TestRateLimits:
    @pytest.fixture
    def limit(self, use: Callable[..., None]) -> Callable[..., None]:
        """Set limits per day: a minute could end during a test."""

        def to(**limits: str) -> None:
            use(rate_limiter=RateLimiter(RateLimitSettings(**limits)))

        return to

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", TOKEN),
            ("POST", REFRESH),
            ("POST", f"{API}/auth/logout"),
            ("GET", f"{API}/auth/sessions"),
            ("POST", USERS),
            ("POST", f"{API}/auth/step-up"),
            ("PUT", f"{ME}/password"),
            ("PATCH", ME),
            ("POST", f"{ME}/api-keys"),
        ],
    )
    def test_are_stricter_for_passwords_and_tokens(
        self, client: TestClient, limit: Callable[..., None], method: str, path: str
    ) -> None:
        limit(auth_address="2/day")
        answers = [client.request(method, path) for _ in range(3)]
        assert [each.status_code == 429 for each in answers] == [False, False, True]
        left = [re.findall(r'"auth-address";r=(\d)', each.headers["ratelimit"]) for each in answers]
        assert left == [["1"], ["0"], ["0"]]
        assert client.get(JWKS).status_code == 200

    async def test_limit_a_site_for_passwords_and_tokens(self, own_app: FastAPI) -> None:
        limiter = RateLimiter(RateLimitSettings(auth_address="1/day"))
        own_app.state.resources = replaced(own_app.state.resources, rate_limiter=limiter)
        statuses = []
        for network in range(5):
            address = f"2001:db8:0:{network}::1", 4321
            transport = httpx2.ASGITransport(app=own_app, client=address)
            async with httpx2.AsyncClient(
                transport=transport, base_url=f"http://testserver{API}"
            ) as client:
                statuses.append((await client.post("/auth/token")).status_code)
        assert statuses == [422] * 4 + [429]

    def test_limit_an_account_over_all_credentials(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        limit: Callable[..., None],
        user: Account,
        admin: Account,
    ) -> None:
        key = bearer(arrange.api_key(user, frozenset({"profile:read"})))
        limit(general_account="2/day")
        each = [user.headers, key, user.headers, key, admin.headers]
        statuses = [client.get(ME, headers=headers).status_code for headers in each]
        assert statuses == [200, 200, 429, 429, 200]

    def test_report_the_remaining_requests_on_every_response(
        self, client: TestClient, user: Account
    ) -> None:
        response = client.get(ME, headers=user.headers)
        assert re.fullmatch(
            r'"general-address";r=1199;t=\d+, "general-account";r=599;t=\d+',
            response.headers["ratelimit"],
        )


class TestLogs:
    @pytest.fixture
    def logged(self, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
        """Return the production log as one text."""
        with logging_restored():
            configure_logging(LoggingSettings.model_validate({"level": "DEBUG"}), production=True)
            yield lambda: capsys.readouterr().out

    def test_contain_no_password_token_or_key(
        self, client: TestClient, user: Account, logged: Callable[[], str]
    ) -> None:
        log_in(client, "ada", WRONG)
        pair = log_in(client, "ada").json()
        headers = bearer(pair["access_token"])
        renewed = client.post(REFRESH, json={"refresh_token": pair["refresh_token"]}).json()
        client.post(REFRESH, json={"refresh_token": pair["refresh_token"]})
        body = {"name": "import", "scopes": ["profile:read"]}
        key = client.post(f"{ME}/api-keys", json=body, headers=user.headers).json()["key"]
        client.get(f"{API}/users/me", headers=bearer(key))
        change = {"current_password": PASSWORD, "new_password": "Guessed1Password"}
        client.put(f"{ME}/password", json=change, headers=user.headers)
        client.get(ME, headers=headers, params={"access_token": pair["access_token"]})
        text = logged()
        secrets = {
            "wrong password": WRONG,
            "password": PASSWORD,
            "new password": "Guessed1Password",
            "access token": pair["access_token"],
            "signature": pair["access_token"].rpartition(".")[2],
            "used refresh token": pair["refresh_token"],
            "refresh token": renewed["refresh_token"],
            "device token": pair["device_token"],
            "API key": key,
            "hash": "$argon2",
        }
        assert [name for name, secret in secrets.items() if secret in text] == []

    def test_report_a_stolen_refresh_token(
        self, client: TestClient, user: Account, logged: Callable[[], str]
    ) -> None:
        for _ in range(2):
            client.post(REFRESH, json={"refresh_token": user.refresh_token})
        text = logged()
        assert "refresh token reused" in text
        assert str(user.session_id) in text

    def test_name_user_credentials_and_refusal(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        user: Account,
        logged: Callable[[], str],
    ) -> None:
        key = arrange.api_key(user, frozenset({"profile:read"}))
        for headers, shown in ((user.headers, "session_id"), (bearer(key), "api_key_id")):
            client.get(USERS, headers=headers)
            line = json.loads(logged().splitlines()[-1])
            assert line["user_id"] == str(user.id)
            assert line.keys() & {"session_id", "api_key_id"} == {shown}
            assert (line["status"], line["code"]) == (403, "insufficient_scope")
            assert line["details"] == {"required": ["users:read"]}
