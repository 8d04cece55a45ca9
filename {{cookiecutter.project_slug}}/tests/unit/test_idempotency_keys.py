"""Idempotency keys as they are stored."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NoReturn
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select

from app import models
from app.config import Settings
from app.core.clock import utc_now
from app.core.config import IdempotencySettings
from app.core.errors import DatabaseUnavailable, InvalidToken
from app.core.idempotency import (
    Answer,
    Claim,
    IdempotencyKey,
    IdempotencyKeyInUse,
    IdempotencyUnavailable,
)
from app.core.ids import new_id
from app.infrastructure.database import Database
from app.infrastructure.outbox import Outbox
from app.infrastructure.replays import DatabaseIdempotency
from tests.support.factories import UserFactory
from tests.support.models import open_database
from tests.support.waiting import eventually


@pytest.fixture
async def database(
    make_settings: Callable[..., Settings], own_database_url: str
) -> AsyncIterator[Database]:
    async with open_database(make_settings(own_database_url)) as database:
        yield database


@pytest.fixture
async def account(database: Database) -> UUID:
    user = UserFactory.build(password_hash="-")
    async with database.transaction() as session:
        session.add(user)
    return user.id


@pytest.fixture
async def outbox() -> AsyncIterator[Outbox]:
    async with Outbox.open("database", DatabaseUnavailable, retry_seconds=0.01) as outbox:
        yield outbox


Stores = Callable[..., DatabaseIdempotency]


@pytest.fixture
def store_with(database: Database, outbox: Outbox) -> Stores:
    def make(claim_seconds: int = 60) -> DatabaseIdempotency:
        settings = IdempotencySettings.model_construct(
            answer_seconds=60, claim_seconds=claim_seconds
        )
        return DatabaseIdempotency(database, outbox, settings)

    return make


async def claimed(store: DatabaseIdempotency, account: UUID) -> Claim:
    claim = await store.claim(IdempotencyKey(account, "POST /widgets", new_id().hex), "f")
    assert isinstance(claim, Claim)
    return claim


ANSWER = Answer(201, (("location", "/widgets/1"),), b"{}")


@contextmanager
def away() -> Iterator[None]:
    """No transaction begins."""

    def fail(_: Database) -> NoReturn:
        raise DatabaseUnavailable(reason="it went away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "transaction", fail)
        yield


async def is_delivered(outbox: Outbox) -> None:
    async def it_is() -> bool:
        return not len(outbox)

    await eventually(it_is, "the database has heard of it")


async def stored(database: Database) -> int:
    async with database.read() as connection:
        count = await connection.scalar(select(func.count()).select_from(models.IdempotencyKey))
    return count or 0


async def test_prune_deletes_expired_keys(
    database: Database, store_with: Stores, account: UUID
) -> None:
    await claimed(store_with(claim_seconds=-1), account)
    await claimed(store_with(), account)
    assert await store_with().prune() == 1
    assert await stored(database) == 1


class TestDatabaseUnavailable:
    async def test_promises_nothing(self, store_with: Stores, account: UUID) -> None:
        with away(), pytest.raises(IdempotencyUnavailable) as raised:
            await claimed(store_with(), account)
        assert raised.value.context == {"reason": "it went away"}

    async def test_stores_the_answer_of_a_committed_request_later(
        self, store_with: Stores, account: UUID, outbox: Outbox
    ) -> None:
        store = store_with(claim_seconds=-1)
        claim = await claimed(store, account)
        with away():
            await store.keep(claim, ANSWER)
            with pytest.raises(IdempotencyKeyInUse):
                await store.claim(claim.key, "f")
        await is_delivered(outbox)
        assert await store.claim(claim.key, "f") == ANSWER

    async def test_frees_the_key_later(
        self, store_with: Stores, account: UUID, outbox: Outbox
    ) -> None:
        store = store_with()
        claim = await claimed(store, account)
        with away():
            await store.release(claim)
        await is_delivered(outbox)
        assert isinstance(await store.claim(claim.key, "f"), Claim)


async def test_keys_are_stored_as_hashes_and_deleted_with_their_account(
    database: Database, store_with: Stores, account: UUID
) -> None:
    claim = await claimed(store_with(), account)
    async with database.read() as connection:
        row = (await connection.execute(select(models.IdempotencyKey.__table__))).one()
    assert claim.key.text not in repr(row)
    assert row.expires_at <= utc_now() + timedelta(seconds=60)
    async with database.transaction() as session:
        await session.execute(delete(models.User))
    assert await stored(database) == 0
    with pytest.raises(InvalidToken):
        await claimed(store_with(), account)
