"""Files in a directory."""

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, ParamSpec, TypeVar

from app.config import Settings
from app.core.health import HealthCheck
from app.services.file_store import (
    ByteRange,
    FileStoreUnavailable,
    ObjectNotFound,
    StoredFile,
    StoredKey,
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
async def open_storage(settings: Settings) -> AsyncIterator["Storage"]:
    """Yield the store; its threads end afterwards."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="storage") as threads:
        yield Storage(Path(settings.storage.directory), threads)


class Storage:
    """Objects as files in a directory. A disk that hangs keeps our own threads busy, no others."""

    def __init__(self, directory: Path, threads: ThreadPoolExecutor) -> None:
        """Keep files in this directory, which is made when it is first needed."""
        self._directory = directory.absolute()
        self._threads = threads
        self.health_checks = (HealthCheck("storage", self.ping, required=False),)

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, media_type: str) -> StoredFile:
        """Store what an iterator yields: in a file beside, which then takes its name at once.

        Raises:
            FileStoreUnavailable: The disk does not take it.
        """
        path = self._path(key)
        beside = self._directory / _UNFINISHED / secrets.token_hex(16)
        digest, size = hashlib.sha256(), 0
        file = await self._call(_create, beside)
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
        return StoredFile(size, digest.hexdigest(), digest.hexdigest())

    @asynccontextmanager
    async def open(
        self, key: str, byte_range: ByteRange | None = None
    ) -> AsyncIterator[tuple[StoredObject, AsyncIterator[bytes]]]:
        """Yield an object's facts and its bytes, or those of a range.

        Raises:
            ObjectNotFound: There is none.
            FileStoreUnavailable: The disk does not give it.
        """
        first = byte_range.first if byte_range else 0
        file, found = await self._call(_open, self._path(key), first)
        left = byte_range.size if byte_range else found.size

        async def bytes_of_it() -> AsyncIterator[bytes]:
            nonlocal left
            while left and (chunk := await self._call(file.read, min(left, _CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk

        try:
            yield found, bytes_of_it()
        finally:
            file.close()

    async def head(self, key: str) -> StoredObject | None:
        """Return the facts of an object, or None if there is none.

        Raises:
            FileStoreUnavailable: The disk does not answer.
        """
        try:
            return await self._call(_facts, self._path(key))
        except ObjectNotFound:
            return None

    async def delete(self, key: str) -> None:
        """Remove an object, if it is there.

        Raises:
            FileStoreUnavailable: The disk does not answer.
        """
        await self._call(_remove, self._path(key))

    async def list(self, prefix: str) -> AsyncIterator[StoredKey]:
        """Yield all objects whose key starts with this.

        Raises:
            FileStoreUnavailable: The disk does not answer.
        """
        for each in await self._call(_listed, self._directory, prefix):
            yield each

    async def abort_unfinished(self, before: datetime) -> int:
        """Remove the files of `put`s that were last written before a moment.

        Raises:
            FileStoreUnavailable: The disk does not answer.
        """
        return await self._call(_sweep, self._directory / _UNFINISHED, before)

    async def ping(self) -> None:
        """Pass if the directory is there, or can be made, and takes files.

        Raises:
            FileStoreUnavailable: It isn't, or doesn't.
        """
        await self._call(_try_out, self._directory / _UNFINISHED)

    def _path(self, key: str) -> Path:
        """Return where an object is. Keys are made by us: one that leads out is a mistake.

        Raises:
            ValueError: The key is none.
        """
        parts = key.split("/")
        if not all(_PART.fullmatch(part) for part in parts):
            raise ValueError(f"{key!r} is no key")
        return self._directory.joinpath(*parts)

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something with the disk, off the event loop.

        Raises:
            ObjectNotFound: There is no such file.
            FileStoreUnavailable: The disk does not do it, or not in time.
        """
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                return await work
        except FileNotFoundError as error:
            raise ObjectNotFound from error
        except OSError as error:
            raise FileStoreUnavailable(reason=type(error).__name__) from error


def _create(path: Path) -> BinaryIO:
    _make(path.parent)
    return path.open("xb")


def _make(directory: Path) -> None:
    """Make a directory, and those above it that are missing, for nobody else to enter."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def _commit(file: BinaryIO, path: Path) -> None:
    """Have the bytes on the disk, and then the name: a power cut leaves all or nothing."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
    _make(path.parent)
    Path(file.name).replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _discard(file: BinaryIO) -> None:
    file.close()
    Path(file.name).unlink(missing_ok=True)


def _open(path: Path, first: int) -> tuple[BinaryIO, StoredObject]:
    found = _facts(path)
    file = path.open("rb")
    file.seek(first)
    return file, found


def _facts(path: Path) -> StoredObject:
    status = path.stat()
    return StoredObject(status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _listed(directory: Path, prefix: str) -> list[StoredKey]:
    found = sorted(_files(directory, prefix))
    return [StoredKey(key, size, modified_at) for key, size, modified_at in found]


def _files(directory: Path, prefix: str) -> Iterator[tuple[str, int, datetime]]:
    for path in directory.rglob("*"):
        key = path.relative_to(directory).as_posix()
        if key.startswith(prefix) and not key.startswith(_UNFINISHED) and path.is_file():
            with suppress(FileNotFoundError):  # somebody was faster
                status = path.stat()
                yield key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)


def _sweep(directory: Path, before: datetime) -> int:
    old = [
        path
        for path in directory.glob("*")
        if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before
    ]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _try_out(directory: Path) -> None:
    _discard(_create(directory / secrets.token_hex(16)))
