"""`GET /metrics`, where it is enabled."""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.config import Settings
from app.main import create_app

MakeClient = Callable[..., TestClient]
TOKEN = "a-token-for-scrapers"


@pytest.fixture
def client_with(make_settings: Callable[..., Settings], database_url: str) -> MakeClient:
    """Return a client of an application with these settings of its metrics."""

    def make(**metrics: object) -> TestClient:
        return TestClient(create_app(make_settings(database_url, metrics=metrics)))

    return make


class TestMetrics:
    def test_are_not_there_unless_enabled(self, client: TestClient) -> None:
        assert client.get("/metrics").status_code == 404

    def test_count_requests_by_the_template_of_their_route(self, client_with: MakeClient) -> None:
        with client_with(enabled=True) as client:
            client.get("/api/v1/users/01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10")
            shown = client.get("/metrics").text
        assert 'handler="/api/v1/users/{user_id}",method="GET",status="401"' in shown

    def test_do_not_count_themselves(self, client_with: MakeClient) -> None:
        with client_with(enabled=True) as client:
            client.get("/metrics")
            assert 'handler="/metrics"' not in client.get("/metrics").text

    def test_group_unknown_paths_so_that_they_do_not_pile_up(self, client_with: MakeClient) -> None:
        with client_with(enabled=True) as client:
            client.get("/no/such/path")
            assert "/no/such/path" not in client.get("/metrics").text

    @pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer something-else-entirely"}])
    def test_refuse_whoever_lacks_the_token(
        self, client_with: MakeClient, header: dict[str, str]
    ) -> None:
        with client_with(enabled=True, token=TOKEN) as client:
            assert client.get("/metrics", headers=header).status_code == 401

    def test_let_the_token_in(self, client_with: MakeClient) -> None:
        with client_with(enabled=True, token=TOKEN) as client:
            answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200

    def test_add_up_what_other_processes_have_counted(
        self, client_with: MakeClient, tmp_path: Path
    ) -> None:
        with client_with(enabled=True, directory=tmp_path) as client:
            answer = client.get("/metrics")
        assert answer.text == ""
