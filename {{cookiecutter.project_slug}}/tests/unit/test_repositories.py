"""The base of all repositories, on models of the tests' own."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import bindparam, select

from app.config import Settings
from app.core.errors import InvalidInput
from app.core.ids import new_id
from app.core.pages import Page, PageRequest
from app.infrastructure.database import Database, Repository, Session, in_orders
from app.infrastructure.database.repository import (
    columns_of,
    delete_where,
    encode_cursor,
    read_as,
    table_of,
)
from tests.support.databases import TestDatabases
from tests.support.models import (
    Author,
    AuthorFactory,
    NameTaken,
    Note,
    NoteFactory,
    ReadNote,
    with_own_tables,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ORDERS = ["created_at", "text", "rank", "day"]
SORTS = [*ORDERS, *(f"-{order}" for order in ORDERS)]

_notes = table_of(Note).c
_OWNED = select(*columns_of(Note, ReadNote)).where(_notes.author_id == bindparam("author_id"))
_BY_ID = _OWNED.where(_notes.id == bindparam("note_id"))
_LISTS = in_orders(_OWNED, Note, *ORDERS)

contents = st.tuples(
    st.sampled_from(["a", "b", "B", "\u00e4", "a b", "%", "\U0001f389"]),
    st.integers(min_value=0, max_value=3),
)


class NoteRepository(Repository[Note]):
    model = Note


class AuthorRepository(Repository[Author]):
    model = Author


@pytest.fixture(scope="module")
async def database(
    make_settings: Callable[..., Settings], databases: TestDatabases
) -> AsyncIterator[Database]:
    """A database of these tests, with the tables of the tests' models."""
    url = databases.create()
    async with with_own_tables(make_settings(url)) as database:
        yield database
    databases.drop(url)


@pytest.fixture
async def session(database: Database) -> AsyncIterator[Session]:
    async with database.transaction() as session:
        yield session
        await session.rollback()


async def stored_notes(session: Session, rows: list[tuple[str, int]]) -> Author:
    """Store an author with notes."""
    author = AuthorFactory.build(id=new_id(), name=new_id().hex)
    session.add(author)
    await session.flush()
    session.add_all(
        NoteFactory.build(
            author_id=author.id,
            text=text,
            created_at=NOON + timedelta(seconds=number),
            rank=number,
            day=NOON.date() + timedelta(days=number),
        )
        for text, number in rows
    )
    await session.flush()
    return author


async def page(
    session: Session, author: Author, sort: str, limit: int, cursor: str | None = None
) -> Page[ReadNote]:
    return await NoteRepository(session).page(
        _LISTS[sort], ReadNote, PageRequest(limit, cursor), sort=sort, author_id=author.id
    )


class TestPage:
    @given(
        rows=st.lists(contents, max_size=12),
        sort=st.sampled_from(SORTS),
        limit=st.integers(min_value=1, max_value=4),
    )
    @example(rows=[("a", 0)] * 5, sort="created_at", limit=1)
    @example(rows=[("a", 0)] * 5, sort="-text", limit=2)
    @examples(max_examples=30, deadline=None)
    async def test_walks_through_each_row_once_and_in_order(
        self, database: Database, rows: list[tuple[str, int]], sort: str, limit: int
    ) -> None:
        async with database.transaction() as session:
            author = await stored_notes(session, rows)
            whole = await page(session, author, sort, 100)
            walked = [await page(session, author, sort, limit)]
            while (cursor := walked[-1].next_cursor) and len(walked) < 100:
                walked.append(await page(session, author, sort, limit, cursor))
            await session.rollback()

        assert [len(each.items) for each in walked[:-1]] == [limit] * (len(walked) - 1)
        assert [note for each in walked for note in each.items] == whole.items
        assert sorted(note.text for note in whole.items) == sorted(text for text, _ in rows)
        if (order := sort.removeprefix("-")) != "text":
            keys = [(getattr(note, order), note.id) for note in whole.items]
            assert keys == sorted(keys, reverse=sort.startswith("-"))

    async def test_refuses_the_cursor_of_another_order(self, session: Session) -> None:
        author = await stored_notes(session, [("a", 0)] * 2)
        cursor = (await page(session, author, "text", 1)).next_cursor

        with pytest.raises(InvalidInput):
            await page(session, author, "-text", 1, cursor)

    async def test_ends_before_a_number_that_the_column_cannot_have(self, session: Session) -> None:
        author = await stored_notes(session, [("a", 0)])
        cursor = encode_cursor("rank", 2**63 - 1, new_id())

        assert (await page(session, author, "rank", 1, cursor)).items == []


class TestRepository:
    async def test_reads_on_a_connection_as_in_a_session(self, database: Database) -> None:
        async with database.transaction() as session:
            author = await stored_notes(session, [("a", 0)])
            (note,) = (await page(session, author, "text", 1)).items
            values = {"author_id": author.id, "note_id": note.id}
            in_session = await NoteRepository(session).one(_BY_ID, ReadNote, **values)
        async with database.read() as connection:
            on_connection = await NoteRepository(connection).one(_BY_ID, ReadNote, **values)
            missing = values | {"note_id": new_id()}
            assert await NoteRepository(connection).one(_BY_ID, ReadNote, **missing) is None

        assert in_session == on_connection
        assert type(on_connection) is ReadNote

    async def test_adds_locks_and_saves(self, session: Session) -> None:
        author = await stored_notes(session, [])
        notes = NoteRepository(session)
        note = NoteFactory.build(author_id=author.id, text="before")
        await notes.add(note)
        session.expunge_all()

        locked = await notes.lock(note.id)
        assert locked is not None
        await notes.save(locked, {"text": "after"})

        assert read_as(ReadNote, locked).text == "after"
        assert locked.updated_at > locked.created_at
        assert await notes.lock(new_id()) is None

    async def test_reports_the_conflict_of_a_change(self, session: Session) -> None:
        authors = AuthorRepository(session)
        rows = [AuthorFactory.build(name=name) for name in "ab"]
        for row in rows:
            await authors.add(row)

        with pytest.raises(NameTaken):
            await authors.save(rows[1], {"name": "a"})

    async def test_deletes_rows_by_a_condition_and_an_entity_with_its_rows(
        self, session: Session
    ) -> None:
        author = await stored_notes(session, [("a", 0), ("a", 1), ("b", 2)])
        mine = Note.author_id == author.id
        assert await delete_where(session, Note, mine & (Note.text == "a")) == 2

        await AuthorRepository(session).delete(author)

        assert await delete_where(session, Note, mine) == 0
