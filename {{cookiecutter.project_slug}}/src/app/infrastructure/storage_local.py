"""File store in a local directory."""

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, ParamSpec, TypeVar

from app.core.config.storage import StorageSettings
from app.core.storage import (
    ByteRange,
    FileStoreUnavailable,
    ObjectNotFound,
    StoredFile,
    StoredObject,
)

P = ParamSpec("P")
T = TypeVar("T")

_CHUNK_BYTES: Final = 256 * 1024
_CALL_SECONDS: Final = 30.0
_THREADS: Final = 4
_UNFINISHED: Final = ".unfinished"
_PART: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


@asynccontextmanager
async def open_storage(settings: StorageSettings) -> AsyncIterator["Storage"]:
    """Yield the store, and end its threads afterwards."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="storage") as threads:
        yield Storage(Path(settings.directory), threads)


class Storage:
    """Objects as files, under relative paths of letters, digits and `-_./`.

    An object appears whole or not at all. Every method has a time limit, threads of its own, so
    that a hanging disk blocks no others, and raises `FileStoreUnavailable` if the disk fails.
    """

    def __init__(self, directory: Path, threads: ThreadPoolExecutor) -> None:
        """Store files in a directory, which is created on first use."""
        self._directory = directory.absolute()
        self._threads = threads

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, media_type: str) -> StoredFile:
        """Store or replace an object: in a temporary file, which is then renamed."""
        path = self._path(key)
        digest, size = hashlib.sha256(), 0
        temporary = self._directory / _UNFINISHED / secrets.token_hex(16)
        file = await self._call(_create, temporary)
        try:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                await self._call(file.write, chunk)
            await self._call(_commit, file, path)
        except BaseException:
            with suppress(FileStoreUnavailable):
                await self._call(_discard, file)
            raise
        return StoredFile(size, digest.hexdigest())

    @asynccontextmanager
    async def open(
        self, key: str, byte_range: ByteRange | None = None
    ) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Open an object, or a range within it; yield its whole size and its bytes.

        Raises:
            ObjectNotFound: There is no such object.
        """
        file, size = await self._call(_open, self._path(key), byte_range.first if byte_range else 0)
        left = byte_range.size if byte_range else size

        async def read() -> AsyncIterator[bytes]:
            nonlocal left
            while left and (chunk := await self._call(file.read, min(left, _CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk

        try:
            yield size, read()
        finally:
            file.close()

    async def delete(self, key: str) -> None:
        """Delete an object, if it exists."""
        await self._call(self._path(key).unlink, missing_ok=True)

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield the objects whose key starts with a prefix, ordered by key."""
        for each in await self._call(_list, self._directory, prefix):
            yield each

    async def abort_unfinished(self, before: datetime) -> int:
        """Delete the temporary files last written before a moment; return their number."""
        return await self._call(_delete_older, self._directory / _UNFINISHED, before)

    async def ping(self) -> None:
        """Check that a file can be written: on a full disk, an empty one can."""
        await self._call(_probe, self._directory / _UNFINISHED / secrets.token_hex(16))

    def _path(self, key: str) -> Path:
        """Return the path of an object.

        Raises:
            ValueError: The key could lead out of the directory.
        """
        parts = key.split("/")
        if not all(_PART.fullmatch(part) for part in parts):
            raise ValueError(f"{key!r} is not a key")
        return self._directory.joinpath(*parts)

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function of the file system in a thread.

        Raises:
            ObjectNotFound: There is no such file.
            FileStoreUnavailable: The disk failed or did not answer.
        """
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                return await work
        except FileNotFoundError as error:
            raise ObjectNotFound from error
        except OSError as error:
            raise FileStoreUnavailable.due_to(error) from error


def _create(path: Path) -> BinaryIO:
    _make_directory(path.parent)
    return path.open("xb")


def _make_directory(directory: Path) -> None:
    """Create a directory and its missing parents, private to this account."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def _commit(file: BinaryIO, path: Path) -> None:
    """Flush the bytes, then the name: a power cut leaves all or nothing."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
    _make_directory(path.parent)
    Path(file.name).replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _discard(file: BinaryIO) -> None:
    try:
        file.close()  # writes what is buffered, which fails on a full disk
    finally:
        Path(file.name).unlink(missing_ok=True)


def _probe(path: Path) -> None:
    _make_directory(path.parent)
    try:
        path.write_bytes(b"\0")
    finally:
        path.unlink(missing_ok=True)


def _open(path: Path, first: int) -> tuple[BinaryIO, int]:
    file = path.open("rb")
    size = os.fstat(file.fileno()).st_size
    file.seek(first)
    return file, size


def _list(directory: Path, prefix: str) -> list[StoredObject]:
    found = []
    for path in directory.rglob("*"):
        key = path.relative_to(directory).as_posix()
        if key.startswith(prefix) and not key.startswith(_UNFINISHED) and path.is_file():
            with suppress(FileNotFoundError):  # deleted meanwhile
                found.append(StoredObject(key, _modified_at(path)))
    return sorted(found, key=lambda each: each.key)


def _delete_older(directory: Path, before: datetime) -> int:
    old = [path for path in directory.glob("*") if _modified_at(path) < before]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _modified_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
