"""The application factory."""

from collections.abc import Callable

import pytest
from fastapi import APIRouter, FastAPI
from httpx2 import ASGITransport, AsyncClient

from app import about
from app.config import Settings
from app.infrastructure.http.routes import FeatureRouter
from app.main import create_app


async def status(settings: Settings, path: str) -> int:
    transport = ASGITransport(app=create_app(settings))
    async with AsyncClient(transport=transport, base_url="http://api") as api:
        return (await api.get(path)).status_code


def test_opens_nothing_until_its_lifespan_begins() -> None:
    app = create_app(Settings(environment="test"))
    assert not hasattr(app.state, "resources")


def test_describes_itself() -> None:
    info = create_app(Settings(environment="test")).openapi()["info"]
    assert (info["title"], info["version"]) == (about.TITLE, about.VERSION)
    assert info["description"]
    assert info.get("contact", {}) == about.CONTACT
    assert info["license"] == about.LICENSE_INFO


async def test_does_not_redirect_a_trailing_slash() -> None:
    assert await status(Settings(environment="test"), "/live/") == 404


@pytest.mark.parametrize(
    "add",
    [
        lambda router: router.mount("/more", FastAPI()),
        lambda router: router.include_router(APIRouter(prefix="/more")),
        lambda router: router.add_route("/more", lambda _: None),
    ],
)
def test_refuses_routes_that_would_be_lost(add: Callable[[APIRouter], None]) -> None:
    router = FeatureRouter(prefix="/things", tags=["things"])
    add(router)
    with pytest.raises(TypeError, match="/things takes operations only"):
        router.include_in(FastAPI(), prefix="/api/v1", dependencies=[])
