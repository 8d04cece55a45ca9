"""Exports: all items of a user in one response."""

import asyncio
import csv
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import event, insert
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from app import models
from app.config import Settings
from app.core.ids import new_id
from app.domain.items import ITEM_COLUMNS, Item
from app.infrastructure.http.streaming import exported
from app.main import create_app
from app.repositories import items as items_repository
from app.resources import Resources
from tests.support.arrange import Arrange, ArrangeSync, Someone
from tests.support.serving import served

EXPORT = "/api/v1/items/export"
ITEMS = "/api/v1/items"
COLUMNS = ["id", "title", "description", "status", "version", "created_at", "updated_at"]
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def ada(arrange: ArrangeSync) -> Someone:
    return arrange.someone()


class TestExportItems:
    @pytest.mark.parametrize("chosen", ["csv", "ndjson"])
    def test_reads_nothing_for_head_and_has_the_headers_of_get(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        ada: Someone,
        rows_read: "RowsRead",
        chosen: str,
    ) -> None:
        arrange.items(ada, 2)
        got = client.get(EXPORT, headers=ada.headers, params={"format": chosen})

        response = client.head(EXPORT, headers=ada.headers, params={"format": chosen})

        assert rows_read.count == 2
        assert response.status_code == 200
        assert response.content == b""
        names = ("Content-Type", "Content-Disposition", "Content-Encoding", "Vary")
        assert [response.headers[name] for name in names] == [got.headers[name] for name in names]

    def test_is_csv_unless_told_otherwise(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        (item,) = arrange.items(ada, title="Engine", description="Note G", created_at=NOON)

        response = client.get(EXPORT, headers=ada.headers)
        shown = client.get(f"{ITEMS}/{item.id}", headers=ada.headers).json()

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert response.headers["Content-Disposition"] == 'attachment; filename="items.csv"'
        assert response.text == (
            f"{','.join(COLUMNS)}\r\n"
            f"{item.id},Engine,Note G,draft,1,{shown['created_at']},{shown['updated_at']}\r\n"
        )

    def test_gives_one_json_object_per_line_on_request(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        arrange.items(ada, 2, title="Übung\u2028", description='"quoted",\nand broken')

        response = client.get(EXPORT, headers=ada.headers, params={"format": "ndjson"})

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/x-ndjson"
        assert response.headers["Content-Disposition"] == 'attachment; filename="items.ndjson"'
        assert response.content.endswith(b"\n")
        lines = [json.loads(line) for line in response.content[:-1].split(b"\n")]
        listed = client.get(ITEMS, headers=ada.headers, params={"sort": "created_at"})
        assert lines == listed.json()["items"]

    @pytest.mark.parametrize(
        ("chosen", "body"), [("csv", f"{','.join(COLUMNS)}\r\n"), ("ndjson", "")]
    )
    def test_is_complete_without_items(
        self, client: TestClient, ada: Someone, chosen: str, body: str
    ) -> None:
        response = client.get(EXPORT, headers=ada.headers, params={"format": chosen})

        assert response.status_code == 200
        assert response.text == body

    def test_shows_the_oldest_first(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        late, early = (
            arrange.items(ada, title=title, created_at=NOON + timedelta(hours=hours))[0]
            for title, hours in (("late", 1), ("early", 0))
        )

        assert [row["id"] for row in rows_of(client, ada)] == [str(early.id), str(late.id)]

    def test_shows_nothing_of_others(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        arrange.items(ada)

        assert rows_of(client, arrange.someone(role="admin")) == []

    @pytest.mark.parametrize(
        "query",
        [
            {"status": "active"},
            {"q": "50%"},
            {"created_from": "2026-11-21T12:00:00Z", "created_before": "2026-11-21T12:00:01Z"},
        ],
    )
    def test_filters_as_lists_do(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, query: dict[str, str]
    ) -> None:
        arrange.items(ada, title="Engine", status="draft")
        (wanted,) = arrange.items(ada, title="50% off", status="active", created_at=NOON)

        assert [row["id"] for row in rows_of(client, ada, **query)] == [str(wanted.id)]

    @pytest.mark.parametrize(
        "text",
        [
            "a,b",
            'say "hi"',
            '"',
            '","',
            "two\nlines",
            "two\r\nlines",
            "a lone\rreturn",
            "semi;colon",
            "Ψυχή 🎉",
        ],
    )
    def test_quotes_what_would_break_a_row(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, text: str
    ) -> None:
        arrange.items(ada, 2, description=text)

        rows = rows_of(client, ada)

        assert [row["description"] for row in rows] == [text, text]

    @pytest.mark.parametrize("field", ["title", "description"])
    @pytest.mark.parametrize(
        "text",
        [
            "=1+1",
            '=HYPERLINK("https://evil.example","free")',
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "\uff1d1+1",
            "\uff0b1",
            "\uff0d1",
            "\uff20SUM(A1)",
        ],
    )
    def test_keeps_spreadsheets_from_taking_text_for_a_formula(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, field: str, text: Any
    ) -> None:
        arrange.items(ada, **{field: text})

        (row,) = rows_of(client, ada)

        assert row[field] == f"'{text}"

    def test_leaves_text_for_programs_as_it_is(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        arrange.items(ada, title="=1+1", description="-1")

        response = client.get(EXPORT, headers=ada.headers, params={"format": "ndjson"})

        assert response.json().items() >= {"title": "=1+1", "description": "-1"}.items()

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"format": "xlsx"}, "query.format"),
            ({"status": "gone"}, "query.status"),
            ({"sort": "title"}, "query.sort"),
            ({"limit": "5"}, "query.limit"),
            ({"cursor": "WyJ"}, "query.cursor"),
        ],
    )
    def test_refuses_a_bad_query(
        self, client: TestClient, ada: Someone, query: dict[str, str], field: str
    ) -> None:
        response = client.get(EXPORT, headers=ada.headers, params=query)

        assert response.status_code == 422
        assert [error["field"] for error in response.json()["errors"]] == [field]


class TestStreaming:
    async def test_sends_each_batch_before_it_reads_the_next(self) -> None:
        batches = Batches(3)
        chunks = exported(batches, columns=ITEM_COLUMNS, chosen="ndjson")

        read = [batches.read async for _ in chunks]

        assert read == [1, 2, 3]

    async def test_sends_the_first_bytes_before_the_last_row_is_read(
        self, own_app: FastAPI, arrange_own: Arrange, rows_read: "RowsRead"
    ) -> None:
        ada = await arrange_own.someone()
        await many_items(own_app, ada, 4000)

        async with served(own_app) as client, exporting(client, ada) as response:
            chunks = response.aiter_raw()
            await anext(chunks)
            read_at_first = rows_read.count
            rest = [len(chunk) async for chunk in chunks]

        assert read_at_first < 4000
        assert rows_read.count == 4000
        assert sum(rest) > 4000 * 2000

    async def test_compresses_on_the_way(
        self, own_app: FastAPI, arrange_own: Arrange, rows_read: "RowsRead"
    ) -> None:
        ada = await arrange_own.someone()
        await many_items(own_app, ada, 2000)

        async with (
            served(own_app) as client,
            exporting(client, ada, {"Accept-Encoding": "gzip"}) as response,
        ):
            chunks = response.aiter_bytes()
            body = await anext(chunks)
            read_at_first = rows_read.count
            body += b"".join([chunk async for chunk in chunks])

        assert response.headers["Content-Encoding"] == "gzip"
        assert read_at_first < 2000
        assert body.count(b"\n") == 2001

    async def test_takes_the_same_memory_for_many_rows_as_for_few(
        self, own_app: FastAPI, arrange_own: Arrange, rows_read: "RowsRead"
    ) -> None:
        few, many = await arrange_own.someone(), await arrange_own.someone()
        await many_items(own_app, few, 500)
        await many_items(own_app, many, 5000)

        async with served(own_app) as client:
            await drain(client, few)
            peak_of_few = await peak_memory(client, few)
            peak_of_many = await peak_memory(client, many)

        assert rows_read.count == 6000
        assert peak_of_many < 2 * peak_of_few

    async def test_shows_the_items_as_of_the_moment_it_begins(
        self, own_app: FastAPI, arrange_own: Arrange, rows_read: "RowsRead"
    ) -> None:
        ada = await arrange_own.someone()
        await many_items(own_app, ada, 1000)

        async with served(own_app) as client, exporting(client, ada) as response:
            chunks = response.aiter_raw()
            first = await anext(chunks)
            await arrange_own.items(ada, title="Too late")
            body = first + b"".join([chunk async for chunk in chunks])

        assert body.count(b"\r\n") == 1001
        assert b"Too late" not in body

    async def test_gives_its_connection_back_when_the_client_goes_away(
        self,
        make_settings: Callable[..., Settings],
        own_database_url: str,
        password_hash: str,
        rows_read: "RowsRead",
    ) -> None:
        app = create_app(make_settings(own_database_url, database={"pool_size": 1}))
        async with app.router.lifespan_context(app), served(app) as client:
            resources: Resources = app.state.resources
            ada = await Arrange(lambda: resources, password_hash).someone()
            await many_items(app, ada, 4000)
            with capture_logs() as logs, returned_connections(resources) as returned:
                async with exporting(client, ada) as response:
                    await anext(response.aiter_raw())
                    returned.clear()
                await asyncio.wait_for(returned.wait(), timeout=60)
            again = await client.get(ITEMS, headers=ada.headers)

        assert rows_read.count < 4000
        assert again.status_code == 200
        assert [line for line in logs if line["log_level"] in {"error", "critical"}] == []


class Batches:
    """Items as the database gives them, one in a batch; knows how many batches it gave."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.read = 0

    def __aiter__(self) -> "Batches":
        return self

    async def __anext__(self) -> list[Item]:
        if self.read == self._count:
            raise StopAsyncIteration
        self.read += 1
        return [Item(new_id(), "title", "", "draft", 1, NOON, NOON)]  # type: ignore[arg-type]


class RowsRead:
    """Stands in for the read model, and counts the rows that it is made of."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *row: Any) -> Item:
        self.count += 1
        return Item(*row)


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> RowsRead:
    """How many rows have come from the database, in small batches."""
    counted = RowsRead()
    monkeypatch.setattr(items_repository, "Item", counted)
    monkeypatch.setattr(items_repository, "_EXPORT_BATCH", 50)
    return counted


async def many_items(app: FastAPI, owner: Someone, count: int) -> None:
    """Store items of 2 kB each."""
    rows = [
        {
            "id": new_id(),
            "owner_id": owner.id,
            "title": f"Item {number}",
            "description": f"{number:04}" * 500,
            "status": "draft",
            "version": 1,
            "created_at": NOON,
            "updated_at": NOON,
        }
        for number in range(count)
    ]
    resources: Resources = app.state.resources
    async with resources.database.transaction() as session:
        await session.execute(insert(models.Item.__table__), rows)  # type: ignore[arg-type]


def exporting(
    client: httpx2.AsyncClient, owner: Someone, headers: dict[str, str] | None = None
) -> Any:
    return client.stream(
        "GET", EXPORT, headers={"Accept-Encoding": "identity", **owner.headers, **(headers or {})}
    )


async def drain(client: httpx2.AsyncClient, owner: Someone) -> None:
    async with exporting(client, owner) as response:
        async for _ in response.aiter_raw():
            pass


async def peak_memory(client: httpx2.AsyncClient, owner: Someone) -> int:
    """Bytes that Python holds at most while a client reads an export, beyond what it held."""
    tracemalloc.start()
    try:
        await drain(client, owner)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@contextmanager
def returned_connections(resources: Resources) -> Iterator[asyncio.Event]:
    """Yield an event that is set when a connection comes back to the pool."""
    returned = asyncio.Event()
    pool = resources.database.engine.sync_engine.pool

    def checked_in(*_: object) -> None:
        returned.set()

    event.listen(pool, "checkin", checked_in)
    yield returned
    event.remove(pool, "checkin", checked_in)


def rows_of(client: TestClient, owner: Someone, **query: str) -> list[dict[str, str]]:
    response = client.get(EXPORT, headers=owner.headers, params=query)
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text, newline=""), strict=True))
