"""Metrics, as a scraper reads them."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from app.config import Settings
from app.infrastructure.metrics import recorded
from app.main import create_app
from tests.support.serving import served
from tests.support.waiting import PATIENCE, eventually

Measured = Callable[..., AbstractAsyncContextManager[tuple[FastAPI, httpx2.AsyncClient]]]


@pytest.fixture
def measured(
    make_settings: Callable[..., Settings], own_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Measured:
    """Serve an application with these settings, which records metrics more often than usual."""
    monkeypatch.setattr("app.main.recorded", partial(recorded, seconds=0.01))

    @asynccontextmanager
    async def run(**groups: Any) -> AsyncIterator[tuple[FastAPI, httpx2.AsyncClient]]:
        app = create_app(make_settings(own_database_url, **{"metrics": {"enabled": True}} | groups))
        async with app.router.lifespan_context(app), served(app) as client:
            yield app, client

    return run


async def samples(client: httpx2.AsyncClient, name: str, **labels: str) -> list[Sample]:
    """Return the samples of a metric with these labels."""
    response = await client.get("/metrics")
    assert response.status_code == 200
    return [
        sample
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


async def value(client: httpx2.AsyncClient, name: str, **labels: str) -> float:
    """Return the value of a metric with these labels."""
    (sample,) = await samples(client, name, **labels)
    return sample.value


async def until(client: httpx2.AsyncClient, expected: float, name: str, **labels: str) -> None:
    """Wait until a metric has a value."""

    async def it_has() -> bool:
        found = await samples(client, name, **labels)
        return [sample.value for sample in found] == [expected]

    await eventually(it_has, f"{name} is {expected}")


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def scraper(port: int) -> httpx2.AsyncClient:
    """Return a client of a port."""
    transport, address = httpx2.AsyncHTTPTransport(), f"http://127.0.0.1:{port}"
    return httpx2.AsyncClient(transport=transport, base_url=address, timeout=PATIENCE)
