"""Reads lists page by page, and checks errors."""

from collections.abc import Iterable
from typing import Any

import httpx2
from starlette.testclient import TestClient

from app import models
from tests.support.arrange import Account


def get_page(client: TestClient, path: str, owner: Account, **query: Any) -> dict[str, Any]:
    """Return a page of a list."""
    response = client.get(path, headers=owner.headers, params=query)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


def listed(client: TestClient, path: str, owner: Account, **query: Any) -> list[str]:
    """Return the ids on a page of a list."""
    return ids_in(get_page(client, path, owner, **query))


def walk(client: TestClient, path: str, owner: Account, **query: Any) -> list[list[str]]:
    """Return the ids on all pages, fetched one after another; at most ten."""
    page = get_page(client, path, owner, **query)
    pages = [ids_in(page)]
    while page["next_cursor"] is not None and len(pages) < 10:
        page = get_page(client, path, owner, **{**query, "cursor": page["next_cursor"]})
        pages.append(ids_in(page))
    return pages


def ids_in(page: dict[str, Any]) -> list[str]:
    """Return the ids on a page."""
    return [each["id"] for each in page["items"]]


def ids_of(*rows: Any) -> list[str]:
    """Return the ids of rows."""
    return [str(row.id) for row in rows]


def in_order(rows: Iterable[models.Base], sort: str) -> list[str]:
    """Return the ids of rows in an order, computed without the database."""
    name = sort.removeprefix("-")
    ordered: list[Any] = sorted(rows, key=lambda row: (getattr(row, name), row.id))
    return ids_of(*(reversed(ordered) if sort.startswith("-") else ordered))


def assert_problem(response: httpx2.Response, status: int, code: str) -> None:
    """Check status and code of an error."""
    assert response.status_code == status, response.text
    assert response.json()["code"] == code


def assert_invalid(response: httpx2.Response, field: str) -> None:
    """Check that one field alone is invalid."""
    assert_problem(response, 422, "validation_error")
    assert [error["field"] for error in response.json()["errors"]] == [field]


class RecordedEvents:
    """Records published events, then fails if requested."""

    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[object] = []
        self.error = error

    async def publish(self, event: object) -> None:
        """Record an event."""
        self.events.append(event)
        if self.error is not None:
            raise self.error
