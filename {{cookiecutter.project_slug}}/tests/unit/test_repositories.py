"""What all repositories share, tried on the real database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from app import models
from app.config import Settings
from app.core.errors import InvalidInput
from app.core.ids import new_id
from app.core.pages import PageRequest
from app.domain.items import Item, ItemFilter, ItemSort
from app.domain.users import EmailTaken, UserId
from app.infrastructure.database import Database
from app.infrastructure.database.repository import columns_of, table_of
from app.infrastructure.database.session import Session
from app.repositories.items import ItemReader, ItemRepository
from app.repositories.login_throttles import Failures, LoginThrottleRepository
from app.repositories.users import UserRepository
from tests.support.factories import ItemFactory, LoginThrottleFactory, UserFactory

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALL = ItemFilter()

seconds = st.integers(min_value=0, max_value=3).map(lambda count: timedelta(seconds=count))
contents = st.tuples(
    st.sampled_from(["a", "b", "B", "\u00e4", "a b", "%", "\U0001f389"]),
    seconds,
    seconds,
    st.sampled_from(["draft", "active", "archived"]),
)
EQUAL = [("a", timedelta(), timedelta(), "active")] * 5


@pytest.fixture(scope="module")
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with Database.open(settings) as database:
        yield database


@pytest.fixture
async def session(database: Database) -> AsyncIterator[Session]:
    """A session whose traces are rolled back."""
    async with rolled_back(database) as session:
        yield session


class TestKeyset:
    @given(
        rows=st.lists(contents, max_size=12),
        sort=st.sampled_from(get_args(ItemSort.__value__)),
        limit=st.integers(min_value=1, max_value=4),
        wanted=st.sampled_from([ALL, ItemFilter(status="active")]),
    )
    @example(rows=EQUAL, sort="created_at", limit=1, wanted=ALL)
    @example(rows=EQUAL, sort="-title", limit=2, wanted=ALL)
    @examples(max_examples=30, deadline=None)
    async def test_walks_through_each_row_once_and_in_order(
        self,
        database: Database,
        rows: list[tuple[str, timedelta, timedelta, str]],
        sort: ItemSort,
        limit: int,
        wanted: ItemFilter,
    ) -> None:
        async with rolled_back(database) as session:
            owner = await stored_owner(session, rows)
            reader = ItemReader(session)

            whole = await reader.page(owner, wanted, sort, PageRequest(100))
            walked = await walk(reader, owner, wanted, sort, limit)

        assert [len(page) for page in walked[:-1]] == [limit] * (len(walked) - 1)
        assert [item for page in walked for item in page] == whole.items
        expected = [status for _, _, _, status in rows if wanted.status in {None, status}]
        assert sorted(item.status for item in whole.items) == sorted(expected)

    @given(
        rows=st.lists(contents, max_size=12), sort=st.sampled_from(get_args(ItemSort.__value__)[:4])
    )
    @examples(max_examples=15, deadline=None)
    async def test_sorts_moments_and_breaks_ties_by_id(
        self,
        database: Database,
        rows: list[tuple[str, timedelta, timedelta, str]],
        sort: ItemSort,
    ) -> None:
        async with rolled_back(database) as session:
            owner = await stored_owner(session, rows)
            page = await ItemReader(session).page(owner, ALL, sort, PageRequest(100))

        name, descending = sort.removeprefix("-"), sort.startswith("-")
        keys = [(getattr(item, name), item.id) for item in page.items]
        assert keys == sorted(keys, reverse=descending)

    async def test_refuses_the_cursor_of_another_list(self, session: Session) -> None:
        owner = await stored_owner(session, [("a", timedelta(), timedelta(), "draft")] * 2)
        reader = ItemReader(session)
        cursor = (await reader.page(owner, ALL, "title", PageRequest(1))).next_cursor

        with pytest.raises(InvalidInput):
            await reader.page(owner, ALL, "-title", PageRequest(1, cursor))


class TestStream:
    async def test_gives_all_rows_in_batches(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.repositories.items._EXPORT_BATCH", 2)
        owner = await stored_owner(session, [("a", timedelta(), timedelta(), "draft")] * 5)

        batches = [batch async for batch in ItemReader(session).stream(owner, ALL)]

        assert [len(batch) for batch in batches] == [2, 2, 1]
        ids = [item.id for batch in batches for item in batch]
        assert ids == sorted(set(ids))


class TestReader:
    async def test_returns_read_models_that_cannot_be_changed(self, session: Session) -> None:
        owner = await stored_owner(session, [("a", timedelta(), timedelta(), "draft")])

        (item,) = (await ItemReader(session).page(owner, ALL, "title", PageRequest(1))).items

        assert type(item) is Item
        with pytest.raises(AttributeError):
            item.title = "b"  # type: ignore[misc]

    async def test_finds_nothing_of_others(self, session: Session) -> None:
        owner = await stored_owner(session, [("a", timedelta(), timedelta(), "draft")])
        (item,) = (await ItemReader(session).page(owner, ALL, "title", PageRequest(1))).items

        assert await ItemReader(session).one(UserId(new_id()), item.id) is None
        assert await ItemReader(session).one(owner, item.id) == item

    def test_selects_the_columns_of_the_read_model_and_no_others(self) -> None:
        names = [column.name for column in columns_of(models.Item, Item)]

        assert names == [
            "id",
            "title",
            "description",
            "status",
            "version",
            "created_at",
            "updated_at",
        ]
        assert "owner_id" in table_of(models.Item).c


class TestRepository:
    async def test_stores_what_is_added_and_finds_it_by_its_id(self, session: Session) -> None:
        users = UserRepository(session)

        added = await users.add(UserFactory.build())

        session.expunge_all()
        found = await users.get(added.id)
        assert found is not None
        assert found.email == added.email

    async def test_finds_nothing_where_nothing_is(self, session: Session) -> None:
        assert await UserRepository(session).get(new_id()) is None

    async def test_stores_what_is_changed(self, session: Session) -> None:
        users = UserRepository(session)
        user = await users.add(UserFactory.build())

        user.full_name = "Ada Lovelace"
        await users.save(user)

        profile = await users.profile(UserId(user.id))
        assert profile is not None
        assert profile.full_name == "Ada Lovelace"
        assert profile.updated_at > profile.created_at

    async def test_says_which_conflict_a_change_meets(self, session: Session) -> None:
        users = UserRepository(session)
        first, second = [await users.add(user) for user in UserFactory.batch(2)]

        second.email = first.email
        with pytest.raises(EmailTaken):
            await users.save(second)

    async def test_says_which_conflict_an_addition_meets(self, session: Session) -> None:
        users = UserRepository(session)
        first = await users.add(UserFactory.build())

        with pytest.raises(EmailTaken):
            await users.add(UserFactory.build(email=first.email))

    async def test_deletes_with_an_entity_what_belongs_to_it(self, session: Session) -> None:
        users, items = UserRepository(session), ItemRepository(session)
        user = await users.add(UserFactory.build())
        item = await items.add(ItemFactory.build(owner_id=user.id))

        await users.delete(user)

        session.expunge_all()
        assert await items.get(item.id) is None


class TestFailedLogins:
    async def test_add_up_inside_a_window(self, session: Session) -> None:
        counts = LoginThrottleRepository(session)
        for moment in (NOON, NOON + HOUR / 3, NOON + HOUR):
            await counts.record("somebody", moment, moment - HOUR)

        found = await counts.failures(["somebody", "nobody"], NOON)

        assert found == {"somebody": Failures(3, NOON + HOUR)}

    async def test_do_not_add_up_past_the_window(self, session: Session) -> None:
        counts = LoginThrottleRepository(session)
        found = []
        for number in range(6):
            now = NOON + 0.9 * number * HOUR
            await counts.record("somebody", now, now - HOUR)
            found.append((await counts.failures(["somebody"], now - HOUR))["somebody"].count)

        assert found == [1, 2, 1, 2, 1, 2]

    async def test_are_forgotten_when_the_window_is_over(self, session: Session) -> None:
        counts = LoginThrottleRepository(session)
        await counts.record("somebody", NOON, NOON - HOUR)
        late = NOON + 0.9 * HOUR
        await counts.record("somebody", late, late - HOUR)

        assert await counts.failures(["somebody"], NOON + timedelta(seconds=1)) == {}

    async def test_are_deleted_by_the_beginning_of_their_window(self, session: Session) -> None:
        counts = LoginThrottleRepository(session)
        await counts.add(LoginThrottleFactory.build(window_started_at=NOON))
        await counts.add(LoginThrottleFactory.build(window_started_at=NOON - HOUR))

        assert await counts.delete_older(NOON) == 1
        assert await counts.delete_older(NOON) == 0


@asynccontextmanager
async def rolled_back(database: Database) -> AsyncIterator[Session]:
    async with database.engine.connect() as connection:
        transaction = await connection.begin()
        async with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        await transaction.rollback()


async def stored_owner(
    session: Session, rows: list[tuple[str, timedelta, timedelta, str]]
) -> UserId:
    """Store items of a new owner."""
    user = await UserRepository(session).add(UserFactory.build())
    for title, created, updated, status in rows:
        session.add(
            ItemFactory.build(
                owner_id=user.id,
                title=title,
                status=status,
                created_at=NOON + created,
                updated_at=NOON + updated,
            )
        )
    await session.flush()
    return UserId(user.id)


async def walk(
    reader: ItemReader, owner: UserId, wanted: ItemFilter, sort: ItemSort, limit: int
) -> list[list[Item]]:
    """All pages, one after the other; a hundred at most."""
    page = await reader.page(owner, wanted, sort, PageRequest(limit))
    pages = [page.items]
    while page.next_cursor is not None and len(pages) < 100:
        page = await reader.page(owner, wanted, sort, PageRequest(limit, page.next_cursor))
        pages.append(page.items)
    return pages
