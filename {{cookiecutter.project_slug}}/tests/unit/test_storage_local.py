"""The store in a directory, beyond the contract of all stores."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit

import pytest

from app.core.clock import utc_now
from app.core.config.storage import StorageSettings
from app.core.storage import FileStoreUnavailable
from app.infrastructure.storage import Storage, open_storage

TEXT = b"Note G, with a table.\n"


async def chunks(*data: bytes) -> AsyncIterator[bytes]:
    for each in data:
        yield each


@contextmanager
def full_disk() -> Iterator[None]:
    """Make every write of this process to a file fail."""
    soft, hard = getrlimit(RLIMIT_FSIZE)
    setrlimit(RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        setrlimit(RLIMIT_FSIZE, (soft, hard))


@asynccontextmanager
async def store_in(directory: Path) -> AsyncIterator[Storage]:
    async with open_storage(StorageSettings(directory=str(directory))) as store:
        yield store


class TestKeys:
    @pytest.mark.parametrize(
        "key", ["../a", "a/../../b", "/a", "a//b", ".unfinished/a", "a\0b", ""]
    )
    async def test_stay_inside_the_directory(self, tmp_path: Path, key: str) -> None:
        async with store_in(tmp_path / "files") as store:
            with pytest.raises(ValueError, match="is not a key"):
                await store.put(key, chunks(TEXT), media_type="text/plain")
        assert not (tmp_path / "a").exists()


class TestPut:
    async def test_creates_private_files(self, tmp_path: Path) -> None:
        async with store_in(tmp_path / "files") as store:
            await store.put("exports/a.csv", chunks(TEXT), media_type="text/csv")
        assert (tmp_path / "files" / "exports" / "a.csv").read_bytes() == TEXT
        assert (tmp_path / "files").stat().st_mode & 0o077 == 0

    async def test_can_be_swept_after_a_crash(self, tmp_path: Path) -> None:
        async with store_in(tmp_path) as store:
            await store.put("a", chunks(TEXT), media_type="text/plain")
            (tmp_path / ".unfinished" / "left").write_bytes(TEXT)

            assert await store.abort_unfinished(utc_now() - timedelta(hours=1)) == 0
            assert await store.abort_unfinished(utc_now() + timedelta(hours=1)) == 1
            assert [each.key async for each in store.list("")] == ["a"]


class TestFailingDisk:
    async def test_is_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(TEXT)
        async with store_in(tmp_path / "file") as store:
            with pytest.raises(FileStoreUnavailable):
                await store.ping()
            with pytest.raises(FileStoreUnavailable):
                await store.put("a", chunks(TEXT), media_type="text/plain")

    async def test_that_is_full_is_unavailable_and_keeps_nothing(self, tmp_path: Path) -> None:
        async with store_in(tmp_path) as store:
            with full_disk():
                with pytest.raises(FileStoreUnavailable):
                    await store.ping()
                with pytest.raises(FileStoreUnavailable) as refused:
                    await store.put("b", chunks(TEXT), media_type="text/plain")
            assert refused.value.context == {"reason": "File too large"}
            await store.ping()
            assert await store.abort_unfinished(utc_now() + timedelta(hours=1)) == 0
