"""The contract of every file store."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from app.core.clock import utc_now
from app.core.storage import ByteRange, ObjectNotFound, StoredObject
from app.infrastructure.storage import Storage
from tests.support.stores import LARGE, STORES, opened

TEXT = b"Note G, with a table."
SOON = timedelta(minutes=5)


@pytest.fixture(scope="module", params=STORES)
async def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Storage]:
    """A store, opened once; each test has keys of its own."""
    async with opened(request, request.param, tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def key() -> str:
    return f"files/{secrets.token_hex(8)}"


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def failing_after(size: int, error: BaseException) -> AsyncIterator[bytes]:
    for chunk in pieces(secrets.token_bytes(size)):
        yield chunk
    raise error


def pieces(data: bytes, size: int = 64 * 1024) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


async def content(store: Storage, key: str, byte_range: ByteRange | None = None) -> bytes:
    async with store.open(key, byte_range) as (_, chunks):
        return b"".join([chunk async for chunk in chunks])


async def listed(store: Storage, prefix: str) -> list[StoredObject]:
    return [each async for each in store.list(prefix)]


async def leftovers(store: Storage) -> int:
    """Delete the unfinished uploads, and return their number."""
    return await store.abort_unfinished(utc_now() + SOON)


class TestPut:
    @pytest.mark.parametrize("size", [0, 21, LARGE])
    async def test_stores_content_of_any_size(self, store: Storage, key: str, size: int) -> None:
        data = secrets.token_bytes(size)

        stored = await store.put(key, stream(*pieces(data)), media_type="video/mp4")

        assert (stored.size, stored.sha256) == (size, hashlib.sha256(data).hexdigest())
        assert hashlib.sha256(await content(store, key)).hexdigest() == stored.sha256
        assert await leftovers(store) == 0

    async def test_replaces_content_unless_it_fails(self, store: Storage, key: str) -> None:
        await store.put(key, stream(b"first"), media_type="text/plain")
        await store.put(key, stream(TEXT), media_type="text/plain")

        with pytest.raises(RuntimeError):
            await store.put(key, failing_after(LARGE, RuntimeError()), media_type="text/plain")

        assert await content(store, key) == TEXT

    @pytest.mark.parametrize("size", [1000, LARGE], ids=["small", "large"])
    async def test_leaves_nothing_if_it_fails(self, store: Storage, key: str, size: int) -> None:
        with pytest.raises(RuntimeError, match="the client went away"):
            await store.put(
                key,
                failing_after(size, RuntimeError("the client went away")),
                media_type="video/mp4",
            )

        assert await listed(store, key) == []
        assert await leftovers(store) == 0

    async def test_leaves_nothing_if_it_is_cancelled(self, store: Storage, key: str) -> None:
        waiting = asyncio.Event()

        async def stalled() -> AsyncIterator[bytes]:
            for chunk in pieces(secrets.token_bytes(LARGE)):
                yield chunk
            waiting.set()
            await asyncio.Event().wait()

        putting = asyncio.create_task(store.put(key, stalled(), media_type="video/mp4"))
        async with asyncio.timeout(60):
            await waiting.wait()
            putting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await putting

        assert await listed(store, key) == []
        assert await leftovers(store) == 0

    async def test_takes_several_at_once(self, store: Storage, key: str) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                data = stream(b"%d" % number, TEXT)
                group.create_task(store.put(f"{key}/{number}", data, media_type="text/plain"))

        assert [await content(store, f"{key}/{n}") for n in range(5)] == [
            b"%d" % number + TEXT for number in range(5)
        ]


class TestOpen:
    async def test_returns_a_range_and_the_whole_size(self, store: Storage, key: str) -> None:
        await store.put(key, stream(TEXT), media_type="text/plain")

        for first, last in ((0, 0), (0, 5), (5, 10), (20, 20), (0, 20)):
            assert await content(store, key, ByteRange(first, last)) == TEXT[first : last + 1]
        async with store.open(key, ByteRange(2, 3)) as (size, _):
            assert size == len(TEXT)

    async def test_can_be_left_before_the_end(self, store: Storage, key: str) -> None:
        data = secrets.token_bytes(LARGE)
        await store.put(key, stream(data), media_type="video/mp4")

        async with store.open(key) as (_, chunks):
            first = await anext(aiter(chunks))

        assert data.startswith(first)
        assert await content(store, key, ByteRange(LARGE - 10, LARGE - 1)) == data[-10:]

    async def test_fails_without_an_object(self, store: Storage, key: str) -> None:
        with pytest.raises(ObjectNotFound):
            await content(store, key)


class TestDelete:
    async def test_removes_the_object_if_it_exists(self, store: Storage, key: str) -> None:
        await store.put(key, stream(TEXT), media_type="text/plain")
        for _ in range(2):
            await store.delete(key)
            assert await listed(store, key) == []


class TestList:
    async def test_returns_objects_by_prefix(self, store: Storage, key: str) -> None:
        before = utc_now() - SOON
        for name in ("b", "a", "c/d"):
            await store.put(f"{key}/{name}", stream(TEXT), media_type="text/plain")

        found = await listed(store, f"{key}/")

        assert [each.key for each in found] == [f"{key}/{name}" for name in ("a", "b", "c/d")]
        assert all(before < each.modified_at < utc_now() + SOON for each in found)


class TestPing:
    async def test_passes_if_the_store_answers(self, store: Storage) -> None:
        await store.ping()
