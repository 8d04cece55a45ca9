"""Idempotency keys as they are stored."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select

from app import models
from app.core.config import Settings
from app.domain.clock import utc_now
from app.domain.idempotency import Claim, IdempotencyKey, IdempotencyKeyInUse
from app.domain.ids import new_id
from app.infrastructure.database import Database
from app.infrastructure.idempotency import DatabaseIdempotency
from tests.support.factories import UserFactory


@pytest.fixture
async def database(
    make_settings: Callable[..., Settings], own_database_url: str
) -> AsyncIterator[Database]:
    async with Database.open(make_settings(own_database_url)) as database:
        yield database


@pytest.fixture
async def account(database: Database) -> UUID:
    user = UserFactory.build(password_hash="-")
    async with database.transaction() as session:
        session.add(user)
    return user.id


async def claimed(database: Database, account: UUID, claim_seconds: int = 60) -> Claim:
    store = DatabaseIdempotency(database, answer_seconds=60, claim_seconds=claim_seconds)
    claim = await store.claim(IdempotencyKey(account, "POST /items", new_id().hex), "f")
    assert isinstance(claim, Claim)
    return claim


async def stored(database: Database) -> int:
    async with database.read() as connection:
        count = await connection.scalar(select(func.count()).select_from(models.IdempotencyKey))
    return count or 0


class TestPrune:
    async def test_deletes_what_has_expired(self, database: Database, account: UUID) -> None:
        await claimed(database, account, claim_seconds=-1)
        await claimed(database, account)
        store = DatabaseIdempotency(database, answer_seconds=60, claim_seconds=60)
        assert await store.prune() == 1
        assert await stored(database) == 1


class TestAccount:
    async def test_takes_its_keys_along(self, database: Database, account: UUID) -> None:
        await claimed(database, account)
        async with database.transaction() as session:
            await session.execute(delete(models.User))
        assert await stored(database) == 0

    async def test_gets_no_key_when_it_is_gone(self, database: Database) -> None:
        with pytest.raises(IdempotencyKeyInUse):
            await claimed(database, new_id())


class TestTable:
    async def test_tells_nobody_the_keys(self, database: Database, account: UUID) -> None:
        claim = await claimed(database, account)
        async with database.read() as connection:
            row = (await connection.execute(select(models.IdempotencyKey.__table__))).one()
        assert claim.key.text not in repr(row)
        assert row.expires_at <= utc_now() + timedelta(seconds=60)
