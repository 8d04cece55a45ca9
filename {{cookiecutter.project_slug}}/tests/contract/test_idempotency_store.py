"""Contract of the stores of idempotency keys."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from uuid import UUID

import pytest

from app.config import Settings
from app.core.idempotency import (
    Answer,
    Claim,
    IdempotencyKey,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IdempotencyStore,
)
from app.core.ids import new_id
from app.resources import Resources, open_resources
from app.tasks import TASKS
from tests.support.databases import TestDatabases
from tests.support.factories import UserFactory
from tests.support.waiting import PATIENCE

ANSWER = Answer(201, (("content-type", "application/json"), ("etag", '"1"')), b'{"a":"\xc3\xa4"}')


@pytest.fixture(scope="module")
def own_settings(
    make_settings: Callable[..., Settings], databases: TestDatabases
) -> Iterator[Settings]:
    """Settings with a database of these tests, in which commits are commits."""
    url = databases.create()
    yield make_settings(url)
    databases.drop(url)


@pytest.fixture(scope="module")
async def resources(own_settings: Settings) -> AsyncIterator[Resources]:
    async with open_resources(own_settings, TASKS) as resources:
        yield resources


async def account(resources: Resources) -> UUID:
    user = UserFactory.build(password_hash="-")
    async with resources.database.transaction() as session:
        session.add(user)
    return user.id


class TestIdempotencyStore:
    @pytest.fixture
    def store(self, resources: Resources) -> IdempotencyStore:
        return resources.idempotency

    @pytest.fixture
    async def key(self, resources: Resources) -> IdempotencyKey:
        return IdempotencyKey(await account(resources), "POST /widgets", new_id().hex)

    async def claimed(self, store: IdempotencyStore, key: IdempotencyKey) -> Claim:
        claim = await store.claim(key, "f")
        assert isinstance(claim, Claim)
        return claim

    async def test_gives_one_claim_to_concurrent_requests(
        self, store: IdempotencyStore, key: IdempotencyKey
    ) -> None:
        outcomes = await asyncio.gather(
            *(store.claim(key, "f") for _ in range(5)), return_exceptions=True
        )
        kinds = sorted(type(outcome).__name__ for outcome in outcomes)
        assert kinds == ["Claim"] + ["IdempotencyKeyInUse"] * 4

    async def test_replays_the_answer_to_the_same_request_alone(
        self, store: IdempotencyStore, key: IdempotencyKey
    ) -> None:
        claim = await self.claimed(store, key)
        with pytest.raises(IdempotencyKeyReused):
            await store.claim(key, "another")
        await store.keep(claim, ANSWER)
        assert [await store.claim(key, "f") for _ in range(2)] == [ANSWER] * 2
        with pytest.raises(IdempotencyKeyReused):
            await store.claim(key, "another")

    async def test_separates_accounts_operations_and_keys(
        self, store: IdempotencyStore, key: IdempotencyKey, resources: Resources
    ) -> None:
        other = await account(resources)
        await store.keep(await self.claimed(store, key), ANSWER)
        assert isinstance(await store.claim(replace(key, account=other), "f"), Claim)
        assert isinstance(await store.claim(replace(key, operation="POST /x"), "f"), Claim)
        assert isinstance(await store.claim(replace(key, text=f"{key.text}2"), "f"), Claim)

    async def test_ignores_a_claim_that_another_request_has_taken(
        self, store: IdempotencyStore, key: IdempotencyKey
    ) -> None:
        late = await self.claimed(store, key)
        await store.release(late)
        now = await self.claimed(store, key)
        await store.keep(late, replace(ANSWER, status=200))
        await store.release(late)
        await store.keep(now, ANSWER)
        assert await store.claim(key, "f") == ANSWER

    async def test_expires_claims_and_answers(
        self, own_settings: Settings, key: IdempotencyKey
    ) -> None:
        times = own_settings.idempotency.model_copy(
            update={"claim_seconds": 1, "answer_seconds": 1}
        )
        settings = own_settings.model_copy(update={"idempotency": times})
        async with open_resources(settings, TASKS) as resources:
            store = resources.idempotency
            first = await self.claimed(store, key)
            second = await self.when_free(store, key)
            assert second.token != first.token
            await store.keep(second, ANSWER)
            await self.when_free(store, key)
            assert await store.prune() == 0

    async def when_free(self, store: IdempotencyStore, key: IdempotencyKey) -> Claim:
        """Claim a key as soon as it is free."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    claimed = await store.claim(key, "f")
                except IdempotencyKeyInUse:
                    claimed = ANSWER
                if isinstance(claimed, Claim):
                    return claimed
                await asyncio.sleep(0.05)
