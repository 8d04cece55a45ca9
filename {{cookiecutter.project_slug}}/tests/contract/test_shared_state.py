"""What every adapter of the ports promises by which the processes of the service share things."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest
from limits.aio.storage import Storage

from app.config import Settings
from app.core.ids import new_id
from app.domain.idempotency import (
    Answer,
    Claim,
    IdempotencyKey,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
)
from app.infrastructure.database import Database
from app.infrastructure.rate_limits import CounterMemory, CountsAtOnce
from app.infrastructure.shared import SharedState
from app.services.ports import IdempotencyStore
from tests.support.databases import TestDatabases
from tests.support.factories import UserFactory
from tests.support.models import open_database
from tests.support.waiting import PATIENCE

OpenStore = Callable[..., AbstractAsyncContextManager[IdempotencyStore]]
ANSWER = Answer(201, (("content-type", "application/json"), ("etag", '"1"')), b'{"a":"\xc3\xa4"}')


@pytest.fixture(scope="module")
def url(databases: TestDatabases) -> Iterator[str]:
    """A database of these tests, in which commits are commits."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture(scope="module")
def own_settings(make_settings: Callable[..., Settings], url: str) -> Settings:
    return make_settings(url)


@pytest.fixture(scope="module")
async def database(own_settings: Settings) -> AsyncIterator[Database]:
    async with open_database(own_settings) as database:
        yield database


@pytest.fixture(scope="module")
async def state(own_settings: Settings, database: Database) -> AsyncIterator[SharedState]:
    async with SharedState.open(own_settings, database) as state:
        yield state


class TestCounters:
    @pytest.fixture(params=["shared", "of this process"])
    def counters(self, request: pytest.FixtureRequest, state: SharedState) -> CountsAtOnce:
        storage = state.rate_limits if request.param == "shared" else CounterMemory()
        assert isinstance(storage, CountsAtOnce)
        return storage

    @pytest.fixture
    def storage(self, counters: CountsAtOnce) -> Storage:
        assert isinstance(counters, Storage)
        return counters

    @pytest.fixture
    def key(self) -> str:
        return new_id().hex

    async def test_allow_as_many_as_the_limit_says(self, counters: CountsAtOnce, key: str) -> None:
        hits = [await counters.hit(key, 3, 3600) for _ in range(5)]
        assert [hit.allowed for hit in hits] == [True] * 3 + [False] * 2
        assert [hit.window[2] for hit in hits] == [1, 2, 3, 3, 3]

    async def test_allow_no_more_however_many_ask_at_once(
        self, counters: CountsAtOnce, key: str
    ) -> None:
        hits = await asyncio.gather(*(counters.hit(key, 7, 3600) for _ in range(40)))
        assert sum(hit.allowed for hit in hits) == 7

    async def test_count_each_key_by_itself(self, counters: CountsAtOnce, key: str) -> None:
        assert (await counters.hit(key, 1, 3600)).allowed
        assert not (await counters.hit(key, 1, 3600)).allowed
        assert (await counters.hit(f"{key}-other", 1, 3600)).allowed

    async def test_say_how_long_a_window_lasts(self, counters: CountsAtOnce, key: str) -> None:
        before = time.time()
        _, left, _, life = (await counters.hit(key, 1, 3600)).window
        after = time.time()
        # It began with an hour, and the hour ends with it.
        assert 0 < left <= 3600
        assert (before + left - 1) // 3600 < (after + left + 1) // 3600
        assert life == left + 3600

    async def test_weigh_the_window_before(self, counters: CountsAtOnce, key: str) -> None:
        async with asyncio.timeout(PATIENCE):
            hit = await counters.hit(key, 4, 1, 4)
            # Until one is refused whose own window has room: the window before counts as well.
            while hit.allowed or hit.window[2] == 4:
                await asyncio.sleep(0.01)
                hit = await counters.hit(key, 4, 1)
                previous, weight, current, _ = hit.window
                counted = math.floor(previous * weight + current - hit.allowed)
                assert 0 <= weight <= 1
                assert hit.allowed == (counted + 1 <= 4)

    async def test_answer_the_questions_of_strategies(
        self, storage: Storage, counters: CountsAtOnce, key: str
    ) -> None:
        assert await storage.acquire_sliding_window_entry(key, 2, 3600)  # type: ignore[attr-defined]
        window = await storage.get_sliding_window(key, 3600)  # type: ignore[attr-defined]
        assert window[::2] == (0, 1)
        await storage.clear_sliding_window(key, 3600)  # type: ignore[attr-defined]
        assert (await counters.hit(key, 1, 3600)).allowed

    async def test_count_without_a_limit(self, storage: Storage, key: str) -> None:
        before = time.time()
        assert [await storage.incr(key, 600), await storage.incr(key, 600, 4)] == [1, 5]
        assert await storage.get(key) == 5
        assert before + 599 <= await storage.get_expiry(key) <= time.time() + 600
        await storage.clear(key)
        assert await storage.get(key) == 0
        assert before <= await storage.get_expiry(key) <= time.time()

    async def test_forget_all(self, storage: Storage, counters: CountsAtOnce, key: str) -> None:
        assert await storage.check()
        for number in range(20):
            await counters.hit(f"{key}-{number}", 1, 3600)
        number_of_keys = await storage.reset()
        assert number_of_keys is not None
        assert number_of_keys >= 20
        assert (await counters.hit(f"{key}-7", 1, 3600)).allowed
        assert issubclass(storage.base_exceptions, Exception)  # type: ignore[arg-type]


class TestIdempotencyStore:
    @pytest.fixture
    def store(self, state: SharedState) -> IdempotencyStore:
        return state.idempotency

    @pytest.fixture
    async def key(self, database: Database) -> IdempotencyKey:
        user = UserFactory.build(password_hash="-")
        async with database.transaction() as session:
            session.add(user)
        return IdempotencyKey(user.id, "POST /api/v1/items", new_id().hex)

    async def claimed(self, store: IdempotencyStore, key: IdempotencyKey) -> Claim:
        claim = await store.claim(key, "f")
        assert isinstance(claim, Claim)
        return claim

    async def test_gives_the_first_answer_again(
        self, store: IdempotencyStore, key: IdempotencyKey
    ) -> None:
        await store.keep(await self.claimed(store, key), ANSWER)
        assert [await store.claim(key, "f") for _ in range(2)] == [ANSWER] * 2

    async def test_refuses_a_second_request_while_the_first_is_under_way(
        self, store: IdempotencyStore, key: IdempotencyKey
    ) -> None:
        await self.claimed(store, key)
        with pytest.raises(IdempotencyKeyInUse):
            await store.claim(key, "f")

    async def test_lets_one_of_many_through(
        self, store: IdempotencyStore, key: IdempotencyKey
    ) -> None:
        outcomes = await asyncio.gather(
            *(store.claim(key, "f") for _ in range(5)), return_exceptions=True
        )
        kinds = sorted(type(outcome).__name__ for outcome in outcomes)
        assert kinds == ["Claim"] + ["IdempotencyKeyInUse"] * 4

    async def test_refuses_another_request_with_the_key(
        self, store: IdempotencyStore, key: IdempotencyKey
    ) -> None:
        claim = await self.claimed(store, key)
        with pytest.raises(IdempotencyKeyReused):
            await store.claim(key, "another")
        await store.keep(claim, ANSWER)
        with pytest.raises(IdempotencyKeyReused):
            await store.claim(key, "another")

    async def test_keeps_accounts_and_operations_apart(
        self, store: IdempotencyStore, key: IdempotencyKey, database: Database
    ) -> None:
        other = UserFactory.build(password_hash="-")
        async with database.transaction() as session:
            session.add(other)
        await store.keep(await self.claimed(store, key), ANSWER)
        assert isinstance(await store.claim(replace(key, account=other.id), "f"), Claim)
        assert isinstance(await store.claim(replace(key, operation="POST /x"), "f"), Claim)
        assert isinstance(await store.claim(replace(key, text=f"{key.text}2"), "f"), Claim)

    async def test_gives_a_key_free_whose_request_has_failed(
        self, store: IdempotencyStore, key: IdempotencyKey
    ) -> None:
        await store.release(await self.claimed(store, key))
        await self.claimed(store, key)

    async def test_keeps_nothing_of_a_claim_that_another_has_by_now(
        self, store: IdempotencyStore, key: IdempotencyKey
    ) -> None:
        late = await self.claimed(store, key)
        await store.release(late)
        now = await self.claimed(store, key)
        await store.keep(late, replace(ANSWER, status=200))
        await store.release(late)
        await store.keep(now, ANSWER)
        assert await store.claim(key, "f") == ANSWER

    async def test_forgets_claims(self, with_times: OpenStore, key: IdempotencyKey) -> None:
        async with with_times(claim_seconds=1) as store:
            first = await self.claimed(store, key)
            second = await self.when_free(store, key)
            assert second.token != first.token
            await store.keep(second, ANSWER)
            assert await store.claim(key, "f") == ANSWER

    async def test_forgets_answers(self, with_times: OpenStore, key: IdempotencyKey) -> None:
        async with with_times(answer_seconds=1) as store:
            await store.keep(await self.claimed(store, key), ANSWER)
            await self.when_free(store, key)
            assert await store.prune() == 0

    @pytest.fixture
    def with_times(self, own_settings: Settings, database: Database) -> OpenStore:
        """Opens stores that keep things for other times."""

        @asynccontextmanager
        async def opened(**seconds: int) -> AsyncIterator[IdempotencyStore]:
            times = own_settings.idempotency.model_copy(update=seconds)
            settings = own_settings.model_copy(update={"idempotency": times})
            async with SharedState.open(settings, database) as state:
                yield state.idempotency

        return opened

    async def when_free(self, store: IdempotencyStore, key: IdempotencyKey) -> Claim:
        """Claim a key as soon as whoever has it has it no more."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    claimed = await store.claim(key, "f")
                except IdempotencyKeyInUse:
                    claimed = ANSWER
                if isinstance(claimed, Claim):
                    return claimed
                await asyncio.sleep(0.05)
