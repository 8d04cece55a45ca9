"""The documentation pages work under the policy they are served with (rule APP08)."""

import re

import pytest
from starlette.testclient import TestClient

from app.config import Settings
from app.core.config import HttpSettings
from app.main import create_app

PAGES = ["/docs", "/redoc"]


def policy_of(client: TestClient, path: str) -> dict[str, set[str]]:
    """The sources that the Content-Security-Policy of a page permits, by directive."""
    header = client.get(path).headers["Content-Security-Policy"]
    directives = (directive.split() for directive in header.split(";"))
    return {name: set(sources) for name, *sources in directives}


def origins(pattern: str, page: str) -> set[str]:
    return {re.sub(r"(https://[^/]+).*", r"\1", address) for address in re.findall(pattern, page)}


@pytest.mark.parametrize("path", PAGES)
class TestPages:
    def test_are_pages_that_read_the_document(self, client: TestClient, path: str) -> None:
        response = client.get(path)
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "/openapi.json" in response.text

    def test_may_run_their_scripts_and_styles(self, client: TestClient, path: str) -> None:
        page, policy = client.get(path).text, policy_of(client, path)
        scripts = origins(r'<script[^>]* src="([^"]+)', page)
        assert scripts
        assert scripts | {"'unsafe-inline'"} <= policy["script-src"]
        styles = origins(r'<link(?=[^>]* rel="stylesheet")[^>]* href="([^"]+)', page)
        assert styles | {"'unsafe-inline'"} <= policy["style-src"]

    def test_may_ask_this_service_and_do_nothing_else(self, client: TestClient, path: str) -> None:
        policy = policy_of(client, path)
        assert policy["connect-src"] == {"'self'"}
        assert policy["default-src"] == policy["frame-ancestors"] == {"'none'"}


class TestDocument:
    def test_is_json_of_the_version_that_it_says(self, client: TestClient) -> None:
        response = client.get("/openapi.json")
        assert response.headers["Content-Type"] == "application/json"
        assert response.json()["openapi"].startswith("3.1.")


class TestSetting:
    @pytest.mark.parametrize("path", [*PAGES, "/openapi.json"])
    def test_closes_the_documentation_anywhere(self, path: str) -> None:
        settings = Settings(http=HttpSettings(docs_enabled=False))
        assert TestClient(create_app(settings)).get(path).status_code == 404

    @pytest.mark.parametrize("path", [*PAGES, "/openapi.json"])
    def test_opens_the_documentation_in_production(self, path: str) -> None:
        opened = {"environment": "production", "http": HttpSettings(docs_enabled=True)}
        settings = Settings().model_copy(update=opened)
        assert TestClient(create_app(settings)).get(path).status_code == 200
