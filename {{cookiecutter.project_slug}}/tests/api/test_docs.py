"""The documentation pages work under the policy they are served with (rule APP08)."""

import re
from base64 import b64encode
from hashlib import sha256

import pytest
from starlette.testclient import TestClient

from app import about
from app.config import Settings
from app.core.config import HttpSettings
from app.main import create_app

PAGES = ["/docs", "/redoc"]


def policy_of(client: TestClient, path: str) -> dict[str, set[str]]:
    """Return the sources in the Content-Security-Policy of a page, by directive."""
    header = client.get(path).headers["Content-Security-Policy"]
    directives = (directive.split() for directive in header.split(";"))
    return {name: set(sources) for name, *sources in directives}


@pytest.mark.parametrize("path", PAGES)
class TestPages:
    def test_are_pages_that_read_the_document(self, client: TestClient, path: str) -> None:
        response = client.get(path)
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "/openapi.json" in response.text

    def test_may_run_their_scripts_and_no_others(self, client: TestClient, path: str) -> None:
        policy = policy_of(client, path)
        scripts = re.findall(r"<script>(.*?)</script>", client.get(path).text, re.DOTALL)
        digests = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
        assert policy["script-src"] == {"'self'", *(f"'sha256-{each}'" for each in digests)}
        assert policy["img-src"] == {"'self'", "data:"}

    def test_load_everything_from_this_service(self, client: TestClient, path: str) -> None:
        loaded = re.findall(r'<(?:script|link)[^>]* (?:src|href)="([^"]+)', client.get(path).text)
        assert len(loaded) >= 2
        for address in loaded:
            asset = client.get(address)
            assert (asset.status_code, asset.headers["Cache-Control"]) == (
                200,
                "public, max-age=86400",
            )
            assert len(asset.content) > 500

    def test_may_call_this_service_only(self, client: TestClient, path: str) -> None:
        policy = policy_of(client, path)
        assert policy["connect-src"] == {"'self'"}
        assert policy["default-src"] == policy["frame-ancestors"] == {"'none'"}


def test_swagger_ui_keeps_the_authorization(client: TestClient) -> None:
    assert '"persistAuthorization": true' in client.get("/docs").text


class TestDocument:
    def test_has_a_description_with_links(self, client: TestClient) -> None:
        description = client.get("/openapi.json").json()["info"]["description"]
        assert description.startswith(about.DESCRIPTION)
        assert len(re.findall(r"\]\(https://", description)) >= 3


class TestSetting:
    @pytest.mark.parametrize("path", [*PAGES, "/openapi.json"])
    @pytest.mark.parametrize(
        ("environment", "enabled", "status"),
        [
            ("development", None, 200),
            ("development", False, 404),
            ("production", None, 404),
            ("production", True, 200),
        ],
    )
    def test_opens_or_closes_the_documentation(
        self, environment: str, enabled: bool | None, status: int, path: str
    ) -> None:
        update = {"environment": environment, "http": HttpSettings(docs_enabled=enabled)}
        settings = Settings().model_copy(update=update)
        assert TestClient(create_app(settings)).get(path).status_code == status
