"""Streaming of rows: formats, memory and disconnects."""

import asyncio
import csv
import io
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import event, insert
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from app.config import Settings
from app.core.ids import new_id
from app.infrastructure.database.repository import table_of
from app.infrastructure.http.streaming import ExportFormat, exported
from app.main import create_app
from app.resources import Resources
from tests.support import things
from tests.support.arrange import Account, Arrange, ArrangeSync
from tests.support.serving import served
from tests.support.things import CREATE_TABLE, EXPORT, ReadThing, Thing, ThingFactory, with_things

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ID = UUID("01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10")


async def text_of(*batches: list[Any], columns: tuple[str, ...], chosen: ExportFormat) -> str:
    async def given() -> AsyncIterator[list[Any]]:
        for batch in batches:
            yield batch

    return b"".join(
        [each async for each in exported(given(), columns=columns, chosen=chosen)]
    ).decode()


class TestFormats:
    async def test_write_one_line_for_each_row(self) -> None:
        rows = [ReadThing(ID, "Übung\u2028"), ReadThing(ID, '"quoted",\nand broken')]

        as_csv = await text_of(rows[:1], rows[1:], columns=("id", "title"), chosen="csv")
        as_json = await text_of(rows, columns=("title",), chosen="ndjson")

        assert as_csv == (f'id,title\r\n{ID},Übung\u2028\r\n{ID},"""quoted"",\nand broken"\r\n')
        assert as_json.endswith("\n")
        assert [json.loads(line)["title"] for line in as_json[:-1].split("\n")] == [
            row.title for row in rows
        ]

    async def test_are_complete_without_rows(self) -> None:
        assert await text_of(columns=("id", "title"), chosen="csv") == "id,title\r\n"
        assert await text_of(columns=("id", "title"), chosen="ndjson") == ""

    async def test_write_times_like_the_api(self) -> None:
        class Moment:
            at = NOON

        assert await text_of([Moment], columns=("at",), chosen="csv") == (
            "at\r\n2026-11-21T12:00:00Z\r\n"
        )

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
    async def test_quote_text_that_would_break_a_row(self, text: str) -> None:
        written = await text_of([ReadThing(ID, text)] * 2, columns=("title",), chosen="csv")

        rows = csv.DictReader(io.StringIO(written, newline=""), strict=True)
        assert [row["title"] for row in rows] == [text, text]

    @pytest.mark.parametrize(
        ("text", "neutral"),
        [
            *(
                (text, f"'{text}")
                for text in (
                    "=1+1",
                    '=HYPERLINK("https://evil.example","free")',
                    "+1",
                    "-1",
                    "@SUM(A1)",
                    "\t=1",
                    "\uff1d1+1",
                    "\uff0b1",
                    "\uff0d1",
                    "\uff20SUM(A1)",
                    "\u200b=1",
                    "\ufeff=1",
                    " \u2060\x00\xa0\U000e0001=1",
                )
            ),
            ("\r=1", "'\r'=1"),
            ("\n1", "'\n1"),
            ("a\n=1\r\n\u200b+1", "a\n'=1\r\n'\u200b+1"),
            ("a\u2028@SUM(A1)", "a\u2028'@SUM(A1)"),
            ("a - b\nc=d", "a - b\nc=d"),
        ],
    )
    async def test_keep_spreadsheets_from_taking_text_for_a_formula(
        self, text: str, neutral: str
    ) -> None:
        rows = [ReadThing(ID, text)]
        written = await text_of(rows, columns=("title",), chosen="csv")
        for_programs = await text_of(rows, columns=("title",), chosen="ndjson")

        (row,) = csv.DictReader(io.StringIO(written, newline=""), strict=True)
        assert row["title"] == neutral
        assert json.loads(for_programs) == {"title": text}

    async def test_send_each_batch_before_the_next_is_read(self) -> None:
        read = 0

        async def batches() -> AsyncIterator[list[ReadThing]]:
            nonlocal read
            for _ in range(3):
                read += 1
                yield [ReadThing(ID, "A")]

        chunks = exported(batches(), columns=("title",), chosen="ndjson")

        assert [read async for _ in chunks] == [1, 2, 3]


class RowsRead:
    """A read model that counts the rows it is made of."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *row: Any) -> ReadThing:
        self.count += 1
        return ReadThing(*row)


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> RowsRead:
    """Return the number of rows read from the database."""
    counted = RowsRead()
    monkeypatch.setattr(things, "ReadThing", counted)
    return counted


class TestHead:
    @pytest.mark.parametrize("chosen", ["csv", "ndjson"])
    def test_reads_nothing_and_has_the_headers_of_get(
        self, client: TestClient, arrange: ArrangeSync, rows_read: RowsRead, chosen: str
    ) -> None:
        ada = arrange.account()
        arrange.execute(CREATE_TABLE)
        arrange.store(*(ThingFactory.build(owner_id=ada.id) for _ in range(2)))
        got = client.get(EXPORT, headers=ada.headers, params={"chosen": chosen})

        response = client.head(EXPORT, headers=ada.headers, params={"chosen": chosen})

        assert rows_read.count == 2
        assert (response.status_code, response.content) == (200, b"")
        names = ("Content-Type", "Content-Disposition", "Content-Encoding", "Vary")
        assert [response.headers[name] for name in names] == [got.headers[name] for name in names]
        assert got.headers["Content-Disposition"] == f'attachment; filename="things.{chosen}"'


class TestStreaming:
    async def test_sends_the_first_bytes_before_the_last_row_is_read(
        self, own_app: FastAPI, arrange_own: Arrange, rows_read: RowsRead
    ) -> None:
        ada = await owner_of_things(own_app, arrange_own, 4000)

        async with served(own_app) as client, exporting(client, ada) as response:
            chunks = response.aiter_raw()
            await anext(chunks)
            read_at_first = rows_read.count
            rest = [len(chunk) async for chunk in chunks]

        assert read_at_first < 4000
        assert rows_read.count == 4000
        assert sum(rest) > 4000 * 2000

    async def test_compresses_on_the_way(
        self, own_app: FastAPI, arrange_own: Arrange, rows_read: RowsRead
    ) -> None:
        ada = await owner_of_things(own_app, arrange_own, 2000)

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
        self, own_app: FastAPI, arrange_own: Arrange, rows_read: RowsRead
    ) -> None:
        few = await owner_of_things(own_app, arrange_own, 500)
        many = await arrange_own.account()
        await store_things(own_app, many, 5000)

        async with served(own_app) as client:
            await drain(client, few)
            peak_of_few = await peak_memory(client, few)
            peak_of_many = await peak_memory(client, many)

        assert rows_read.count == 6000
        assert peak_of_many < 2 * peak_of_few

    async def test_shows_the_rows_as_of_its_start(
        self, own_app: FastAPI, arrange_own: Arrange
    ) -> None:
        ada = await owner_of_things(own_app, arrange_own, 1000)

        async with served(own_app) as client, exporting(client, ada) as response:
            chunks = response.aiter_raw()
            first = await anext(chunks)
            await arrange_own.store(ThingFactory.build(owner_id=ada.id, title="Too late"))
            body = first + b"".join([chunk async for chunk in chunks])

        assert body.count(b"\r\n") == 1001
        assert b"Too late" not in body

    async def test_returns_its_connection_when_the_client_disconnects(
        self,
        make_settings: Callable[..., Settings],
        own_database_url: str,
        password_hash: str,
        rows_read: RowsRead,
    ) -> None:
        app = with_things(create_app(make_settings(own_database_url, database={"pool_size": 1})))
        async with app.router.lifespan_context(app), served(app) as client:
            resources: Resources = app.state.resources
            ada = await owner_of_things(app, Arrange(lambda: resources, password_hash), 4000)
            with capture_logs() as logs, returned_connections(resources) as returned:
                async with exporting(client, ada) as response:
                    await anext(response.aiter_raw())
                    returned.clear()
                await asyncio.wait_for(returned.wait(), timeout=60)
            again = await client.get("/api/v1/users/me", headers=ada.headers)

        assert rows_read.count < 4000
        assert again.status_code == 200
        assert [line for line in logs if line["log_level"] in {"error", "critical"}] == []


async def owner_of_things(app: FastAPI, arrange: Arrange, count: int) -> Account:
    """Create the table, and store things of 2 kB each; return their owner."""
    await arrange.execute(CREATE_TABLE)
    owner = await arrange.account()
    await store_things(app, owner, count)
    return owner


async def store_things(app: FastAPI, owner: Account, count: int) -> None:
    rows = [
        {"id": new_id(), "owner_id": owner.id, "title": f"{number:04}" * 500}
        for number in range(count)
    ]
    resources: Resources = app.state.resources
    async with resources.database.transaction() as session:
        await session.execute(insert(table_of(Thing)), rows)


def exporting(
    client: httpx2.AsyncClient, owner: Account, headers: dict[str, str] | None = None
) -> Any:
    return client.stream(
        "GET", EXPORT, headers={"Accept-Encoding": "identity", **owner.headers, **(headers or {})}
    )


async def drain(client: httpx2.AsyncClient, owner: Account) -> None:
    async with exporting(client, owner) as response:
        async for _ in response.aiter_raw():
            pass


async def peak_memory(client: httpx2.AsyncClient, owner: Account) -> int:
    """Return the peak of additional memory while a client reads an export, in bytes."""
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
