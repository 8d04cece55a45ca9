"""Admission: credentials, channels, origins, limits, and the close codes of refusals."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient, WebSocketDenialResponse
from structlog.testing import capture_logs

from app.config import Settings
from app.core.config import RateLimitSettings
from app.core.ids import new_id
from app.infrastructure.limits import RateLimiter
from app.infrastructure.realtime import Hub
from tests.support.arrange import Account, ArrangeSync, bearer
from tests.support.models import open_database
from tests.support.sockets import PATH, connected, nobody_leaves, refusal

UNAUTHENTICATED, FORBIDDEN, TRY_LATER = 4001, 4003, 1013
LOBBY = f"{PATH}lobby"


@pytest.fixture
def with_limits(
    client: TestClient, settings: Settings, use: Callable[..., None]
) -> Iterator[Callable[..., None]]:
    """Replace the hub by one with other limits."""
    assert client.portal is not None
    portal, opened = client.portal, []

    def open_hub(**limits: Any) -> None:
        realtime = settings.realtime.model_copy(update=limits)
        own = settings.model_copy(update={"realtime": realtime})
        manager = portal.wrap_async_context_manager(Hub.open(own, nobody_leaves))
        use(hub=manager.__enter__(), settings=own)
        opened.append(manager)

    yield open_hub
    for manager in opened:
        manager.__exit__(None, None, None)


class TestCredentials:
    def test_may_be_an_api_key(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        key = arrange.api_key(ada, frozenset({"profile:read"}))
        with client.websocket_connect(LOBBY, headers=bearer(key)) as session:
            assert session.receive_json()["type"] == "welcome"

    @pytest.mark.parametrize("header", ["Bearer nonsense", "Bearer ", "Basic YTpi", "Bearer ak_x"])
    def test_must_be_valid(self, client: TestClient, header: str) -> None:
        assert refusal(client, LOBBY, Authorization=header) == UNAUTHENTICATED

    def test_are_not_read_from_the_url(self, client: TestClient, ada: Account) -> None:
        assert refusal(client, LOBBY) == UNAUTHENTICATED
        path = f"{LOBBY}?access_token={ada.access_token}&token={ada.access_token}"
        assert refusal(client, path) == UNAUTHENTICATED

    def test_need_the_permission_to_read_the_profile(
        self, client: TestClient, arrange: ArrangeSync
    ) -> None:
        account = arrange.account(permissions=frozenset({"users:read"}))
        for channel in ("lobby", "me"):
            assert refusal(client, f"{PATH}{channel}", **account.headers) == FORBIDDEN


class TestChannel:
    def test_is_ones_own_or_shared(self, client: TestClient, ada: Account) -> None:
        for name in ("me", "lobby"):
            with connected(client, ada, name):
                pass
        path = f"{PATH}user:{ada.id}"
        with client.websocket_connect(path, headers=ada.headers) as session:
            assert session.receive_json()["channel"] == f"user:{ada.id}"

    @pytest.mark.parametrize("name", ["nothing", "*", "user:", "user:me", "LOBBY", "user:*", "-"])
    def test_is_forbidden_if_it_does_not_exist_or_is_anothers(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, name: str
    ) -> None:
        admin = arrange.account(role="admin")
        assert refusal(client, f"{PATH}{name}", **ada.headers) == FORBIDDEN
        assert refusal(client, f"{PATH}user:{new_id()}", **ada.headers) == FORBIDDEN
        assert refusal(client, f"{PATH}user:{ada.id}", **admin.headers) == FORBIDDEN

    def test_for_administrators_needs_the_permission(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        with connected(client, arrange.account(role="support"), "admin"):
            pass
        with client.websocket_connect(f"{PATH}admin", headers=ada.headers) as session:
            end = session.receive()
        assert (end["type"], end["code"]) == ("websocket.close", FORBIDDEN)
        assert end["reason"] == "Channel not permitted."


class TestOrigin:
    """Browsers let every page open a WebSocket to every host (OWASP, WSTG-CLNT-10)."""

    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "null", "http://testserver.evil.example", "testserver"]
    )
    def test_of_another_site_is_refused(
        self, client: TestClient, ada: Account, origin: str
    ) -> None:
        assert refusal(client, LOBBY, **ada.headers, Origin=origin) == FORBIDDEN

    @pytest.mark.parametrize("origin", ["http://testserver", "https://TESTSERVER"])
    def test_of_the_service_is_accepted(
        self, client: TestClient, ada: Account, origin: str
    ) -> None:
        with connected(client, ada, Origin=origin):
            pass

    @pytest.mark.parametrize("origins", [["https://www.example.com"], ["*"]])
    def test_that_is_configured_is_accepted(
        self,
        client: TestClient,
        settings: Settings,
        use: Callable[..., None],
        ada: Account,
        origins: list[str],
    ) -> None:
        http = settings.http.model_copy(update={"cors_origins": origins})
        use(settings=settings.model_copy(update={"http": http}))
        with connected(client, ada, Origin="https://www.example.com"):
            pass


class TestLimits:
    def test_bound_the_connections_of_a_user(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        ada: Account,
        with_limits: Callable[..., None],
    ) -> None:
        with_limits(connections_per_user=1)
        with connected(client, ada):
            assert refusal(client, LOBBY, **ada.headers) == TRY_LATER
            with connected(client, arrange.account()):
                pass
        with connected(client, ada):
            pass

    def test_bound_the_connections_of_the_process(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        ada: Account,
        with_limits: Callable[..., None],
    ) -> None:
        with_limits(connections=1)
        with connected(client, ada):
            assert refusal(client, LOBBY, **arrange.account().headers) == TRY_LATER

    def test_bound_the_rate_of_an_account(
        self, client: TestClient, ada: Account, use: Callable[..., None]
    ) -> None:
        use(rate_limiter=RateLimiter(RateLimitSettings(general_account="1/hour")))
        with connected(client, ada):
            assert refusal(client, LOBBY, **ada.headers) == TRY_LATER

    def test_bound_the_rate_of_an_address_before_the_handshake(
        self, client: TestClient, ada: Account, use: Callable[..., None]
    ) -> None:
        use(rate_limiter=RateLimiter(RateLimitSettings(general_address="1/hour")))
        with (
            capture_logs() as log,
            connected(client, ada),
            pytest.raises(WebSocketDenialResponse) as denied,
        ):
            refusal(client, LOBBY, **ada.headers)
        statuses = [line["status"] for line in log if line["event"] == "request"]
        assert list(map(repr, statuses)) == ["429", "101"]
        assert denied.value.status_code == 429
        assert denied.value.json()["code"] == "too_many_requests"


class TestRefusal:
    def test_asks_to_try_later_without_the_database(
        self,
        client: TestClient,
        make_settings: Callable[..., Settings],
        no_database_url: str,
        ada: Account,
        use: Callable[..., None],
    ) -> None:
        assert client.portal is not None
        absent = open_database(make_settings(no_database_url))
        with client.portal.wrap_async_context_manager(absent) as database:
            use(database=database)
            assert refusal(client, LOBBY, **ada.headers) == TRY_LATER

    def test_leaves_no_connection(self, client: TestClient, app: FastAPI, ada: Account) -> None:
        refusal(client, LOBBY)
        refusal(client, f"{PATH}admin", **ada.headers)
        assert app.state.resources.hub.connections == 0
