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
            for path in (
                "/api/v1/users/01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10",
                "/no/such",
                "/metrics",
            ):
                client.get(path)
            shown = client.get("/metrics").text
        assert 'handler="/api/v1/users/{user_id}",method="GET",status="401"' in shown
        assert 'handler="/metrics"' not in shown
        assert "/no/such" not in shown

    def test_let_only_the_token_in(self, client_with: MakeClient) -> None:
        with client_with(enabled=True, token=TOKEN) as client:
            for given, status in {"Bearer another": 401, f"Bearer {TOKEN}": 200}.items():
                answer = client.get("/metrics", headers={"Authorization": given})
                assert answer.status_code == status
            assert client.get("/metrics").status_code == 401

    def test_add_up_what_other_processes_have_counted(
        self, client_with: MakeClient, tmp_path: Path
    ) -> None:
        with client_with(enabled=True, directory=tmp_path) as client:
            answer = client.get("/metrics")
        assert answer.text == ""
