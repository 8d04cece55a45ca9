"""Files after crashes, failures and concurrent requests; see docs/adr/0009-files.md.

A crash is simulated by the state that it leaves.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import delete, select, update

from app import models
from app.core.clock import utc_now
from app.core.config.storage import StorageSettings
from app.core.errors import DatabaseUnavailable, DomainError
from app.core.ids import new_id
from app.core.storage import ByteRange, FileStoreUnavailable, StoredFile
from app.domain.files import (
    AnnouncedFile,
    ContentId,
    File,
    FileId,
    IncomingFile,
    UploadExpired,
    UploadIncomplete,
    incoming_key,
    stored_key,
)
from app.domain.users import UserId
from app.infrastructure.database import Database, Session
from app.infrastructure.storage import Storage
from app.resources import Resources
from app.services.files import FileSweep
from app.tasks.files import DeleteFiles
from app.tasks.pruning import delete_expired
from tests.support.arrange import Account, Arrange
from tests.support.files import (
    FILES,
    MEBIBYTE,
    TEXT,
    FileFactory,
    PendingFileFactory,
    failing,
    files_of,
    key_of,
    keys_of,
    reservations_of,
    uploads_of,
    with_storage_settings,
)
from tests.support.resources import replaced
from tests.support.s3_plugin import nobody

LONG_AGO = timedelta(days=1)
PATIENCE = 10.0


async def one_chunk(data: bytes = TEXT) -> AsyncIterator[bytes]:
    yield data


def attempt_at(owner_id: UserId, file_id: FileId) -> str:
    """The key of an attempt to store the content of a file."""
    return stored_key(owner_id, file_id, ContentId(new_id()))


async def refusal(attempt: Awaitable[object]) -> DomainError | None:
    try:
        await attempt
    except DomainError as error:
        return error
    return None


class Files:
    """The files of one user, with a database and a folder of their own."""

    def __init__(self, resources: Resources, arrange: Arrange, owner: Account) -> None:
        self.resources, self.arrange, self.owner = resources, arrange, owner
        self.storage: Storage = resources.storage

    async def upload(self, **replacements: Any) -> File:
        uploads = uploads_of(replaced(self.resources, **replacements))
        incoming = IncomingFile("a.txt", "text/plain", one_chunk(), None)
        return await uploads.upload(self.owner.id, incoming)

    async def announced(self) -> FileId:
        """A direct upload that was sent and not completed."""
        digest = hashlib.sha256(TEXT).hexdigest()
        announced = AnnouncedFile("a.txt", "text/plain", len(TEXT), digest)
        async with self.resources.database.transaction() as session:
            upload = await reservations_of(self.resources, session).announce(
                self.owner.id, announced
            )
        await self.put(incoming_key(self.owner.id, upload.id))
        return upload.id

    async def complete(self, upload: FileId, **replacements: Any) -> File:
        uploads = uploads_of(replaced(self.resources, **replacements))
        return await uploads.complete(self.owner.id, upload)

    async def delete(self, file_id: FileId) -> None:
        await files_of(self.resources).delete(self.owner.id, file_id)

    async def put(self, *keys: str, data: bytes = TEXT) -> None:
        for key in keys:
            await self.storage.put(key, one_chunk(data), media_type="text/plain")

    async def content(self, file: File) -> bytes:
        async with files_of(self.resources).content(file, None) as (_, found):
            return b"".join([chunk async for chunk in found])

    async def states(self) -> list[str]:
        rows = await self.arrange.rows(select(models.File.state))
        return sorted(state for (state,) in rows)

    async def keys(self) -> set[str]:
        return await keys_of(self.resources)

    async def swept(self, resources: Resources | None = None) -> dict[str, int]:
        """Sweep, and return the numbers that are not zero."""
        used = resources or self.resources
        sweep = FileSweep(used.database, used.storage, used.settings.storage)
        return {name: number for name, number in (await sweep.prune()).items() if number}

    async def are_gone(self) -> bool:
        return not await self.states() and not await self.keys()


@pytest.fixture
async def files(own_app: FastAPI, own_storage: Storage, arrange_own: Arrange) -> Files:
    own_app.state.resources = replaced(own_app.state.resources, storage=own_storage)
    return Files(own_app.state.resources, arrange_own, await arrange_own.account())


class Held:
    """A store that pauses after a `put` until it is resumed."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.reached, self.resume = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, media_type: str) -> StoredFile:
        stored = await self._storage.put(key, chunks, media_type=media_type)
        self.reached.set()
        await self.resume.wait()
        return stored


class HeldBefore(Held):
    """A store that pauses before a `put` until it is resumed."""

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, media_type: str) -> StoredFile:
        data = b"".join([chunk async for chunk in chunks])
        self.reached.set()
        await self.resume.wait()
        return await self._storage.put(key, one_chunk(data), media_type=media_type)


class FailingOnce(Database):
    """A database that fails in the nth transaction, before its commit or after it."""

    def __init__(self, database: Database, fails: int, *, after_commit: bool) -> None:
        super().__init__(database.engine)
        self._count, self._fails, self._after_commit = 0, fails, after_commit

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        self._count += 1
        is_it = self._count == self._fails
        async with super().transaction() as session:
            yield session
            if is_it and not self._after_commit:
                raise DatabaseUnavailable
        if is_it:
            raise DatabaseUnavailable


class TestUpload:
    async def test_is_swept_after_a_crash_before_its_content(self, files: Files) -> None:
        expired = {"created_at": utc_now() - LONG_AGO, "expires_at": utc_now() - LONG_AGO / 2}
        await files.arrange.store(PendingFileFactory.build(owner_id=files.owner.id, **expired))

        assert await files.swept() == {"expired_uploads": 1}
        assert await files.are_gone()

    @pytest.mark.parametrize("key_for", [attempt_at, incoming_key])
    async def test_is_swept_after_a_crash_before_its_row_is_ready(
        self, files: Files, key_for: Callable[[UserId, FileId], str]
    ) -> None:
        past = utc_now() - LONG_AGO
        row = PendingFileFactory.build(owner_id=files.owner.id, expires_at=past)
        await files.arrange.store(row)
        await files.put(key_for(files.owner.id, FileId(row.id)))

        assert await files.swept() == {"expired_uploads": 1, "objects_without_a_file": 1}
        assert await files.are_gone()

    async def test_is_swept_after_a_crash_between_two_parts(
        self, files: Files, moto_settings: StorageSettings
    ) -> None:
        # This server dates every upload years back.
        async with AsyncExitStack() as stack:
            storage = Storage(moto_settings, stack)
            client = await storage._client()
            key = f"{moto_settings.directory}/files/{new_id()}"
            where: Any = {"Bucket": moto_settings.bucket, "Key": key}
            begun = await client.create_multipart_upload(**where)
            await client.upload_part(
                **where, UploadId=begun["UploadId"], PartNumber=1, Body=bytes(5 * MEBIBYTE)
            )

            swept = await files.swept(replaced(files.resources, storage=storage))

            assert swept["unfinished_parts"] == 1
            listed = await client.list_multipart_uploads(Bucket=moto_settings.bucket)
            assert key not in {each["Key"] for each in listed.get("Uploads", ())}

    async def test_leaves_nothing_if_its_row_fails_to_become_ready(self, files: Files) -> None:
        database = FailingOnce(files.resources.database, 2, after_commit=False)
        with pytest.raises(DatabaseUnavailable):
            await files.upload(database=database)
        assert await files.are_gone()

    async def test_keeps_its_content_if_only_the_answer_to_the_commit_is_lost(
        self, files: Files
    ) -> None:
        database = FailingOnce(files.resources.database, 2, after_commit=True)
        with pytest.raises(DatabaseUnavailable):
            await files.upload(database=database)
        assert await files.states() == ["ready"]
        assert len(await files.keys()) == 1
        assert await files.swept() == {}


class TestDelete:
    async def test_is_swept_after_a_crash_before_the_content_is_removed(self, files: Files) -> None:
        owner_id = files.owner.id
        keys = [key_for(owner_id, FileId(new_id())) for key_for in (attempt_at, incoming_key)]
        await files.put(*keys)
        assert await files.swept() == {"objects_without_a_file": 2}
        assert await files.keys() == set()

    async def test_works_without_the_store(
        self, files: Files, own_app: FastAPI, own_client: httpx2.AsyncClient
    ) -> None:
        file = await files.upload()
        async with AsyncExitStack() as stack:
            absent = Storage(nobody(files.resources.settings.storage), stack)
            own_app.state.resources = replaced(files.resources, storage=absent)
            response = await own_client.delete(f"{FILES}/{file.id}", headers=files.owner.headers)
            with pytest.raises(FileStoreUnavailable):
                await files.swept(own_app.state.resources)

        assert response.status_code == 204
        assert await files.states() == []
        assert await files.swept() == {"objects_without_a_file": 1}

    async def test_removes_all_objects_concurrently(self, files: Files) -> None:
        both = asyncio.Barrier(2)

        class Together(Held):
            async def delete(self, key: str) -> None:
                async with both:
                    await self._storage.delete(key)

        upload = await files.announced()
        await files.complete(upload)
        patient = with_storage_settings(files.resources, removal_timeout=PATIENCE)
        together = replaced(patient, storage=Together(files.storage))

        await files_of(together).delete(files.owner.id, upload)

        assert await files.keys() == set()

    async def test_does_not_wait_for_a_store_that_hangs(self, files: Files) -> None:
        class Hanging(Held):
            async def delete(self, key: str) -> None:
                await self.resume.wait()

        file = await files.upload()
        hasty = with_storage_settings(files.resources, removal_timeout=0.01)
        hanging = replaced(hasty, storage=Hanging(files.storage))

        async with asyncio.timeout(PATIENCE):
            await files_of(hanging).delete(files.owner.id, file.id)

        assert await files.states() == []
        assert await files.swept() == {"objects_without_a_file": 1}

    async def test_of_the_owner_deletes_the_files(self, files: Files) -> None:
        await files.upload()
        held = HeldBefore(files.storage)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(refusal(files.upload(storage=held)))
            await held.reached.wait()
            await files.arrange.execute(delete(models.User).where(models.User.id == files.owner.id))
            await files.resources.run(DeleteFiles(files.owner.id))
            held.resume.set()
        assert type(task.result()) is UploadExpired
        assert await files.are_gone()


class TestDirectUpload:
    @pytest.mark.parametrize("key_for", [incoming_key, attempt_at], ids=["sent late", "crashed"])
    async def test_beside_the_one_that_made_the_file_is_swept(
        self, files: Files, key_for: Callable[[UserId, FileId], str]
    ) -> None:
        row = FileFactory.build(owner_id=files.owner.id)
        await files.arrange.store(row)
        await files.put(key_of(row), key_for(files.owner.id, FileId(row.id)))

        assert await files.swept() == {"objects_without_a_file": 1}
        assert await files.keys() == {key_of(row)}

    async def test_that_was_cancelled_is_swept_after_a_crash(self, files: Files) -> None:
        soon = utc_now() + LONG_AGO
        row = FileFactory.build(owner_id=files.owner.id, state="cancelled", expires_at=soon)
        await files.arrange.store(row)
        await files.put(key_of(row), incoming_key(files.owner.id, FileId(row.id)))

        assert await files.swept() == {"objects_without_a_file": 2}
        assert await files.states() == ["cancelled"]

    async def test_can_be_completed_after_its_row_failed_to_become_ready(
        self, files: Files
    ) -> None:
        upload = await files.announced()
        database = FailingOnce(files.resources.database, 1, after_commit=False)

        with pytest.raises(DatabaseUnavailable):
            await files.complete(upload, database=database)

        assert await files.states() == ["pending"]
        assert await files.swept() == {}
        file = await files.complete(upload)
        assert await files.swept() == {"objects_without_a_file": 1}
        assert await files.content(file) == TEXT

    async def test_is_a_file_if_only_the_answer_to_the_commit_is_lost(self, files: Files) -> None:
        upload = await files.announced()
        database = FailingOnce(files.resources.database, 1, after_commit=True)

        with pytest.raises(DatabaseUnavailable):
            await files.complete(upload, database=database)

        assert await files.states() == ["ready"]
        assert await files.swept() == {}
        assert await files.content(await files.complete(upload)) == TEXT

    async def test_is_given_up_if_it_expires_during_its_completion(self, files: Files) -> None:
        upload = await files.announced()
        soon = utc_now() + timedelta(seconds=0.5)
        await files.arrange.execute(update(models.File).values(expires_at=soon))

        with pytest.raises(UploadExpired):
            await files.complete(upload, storage=Held(files.storage))

        assert (await files.swept())["expired_uploads"] == 1
        assert await files.are_gone()

    async def test_that_is_cancelled_during_its_completion_leaves_nothing(
        self, files: Files
    ) -> None:
        upload, held = await files.announced(), Held(files.storage)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(refusal(files.complete(upload, storage=held)))
            await held.reached.wait()
            await files.delete(upload)
            held.resume.set()

        assert type(task.result()) is UploadExpired
        assert await files.states() == ["cancelled"]
        assert await files.keys() == set()


class TestConcurrentCompletion:
    async def test_keeps_the_announced_content(self, files: Files) -> None:
        upload = await files.announced()
        first, second = Held(files.storage), Held(files.storage)

        async with asyncio.TaskGroup() as group:
            good = group.create_task(files.complete(upload, storage=first))
            await first.reached.wait()
            await files.put(incoming_key(files.owner.id, upload), data=TEXT[::-1])
            bad = group.create_task(refusal(files.complete(upload, storage=second)))
            await second.reached.wait()
            first.resume.set()
            file = await good
            meanwhile = await files.content(file)
            second.resume.set()

        assert type(bad.result()) is UploadIncomplete
        assert (meanwhile, await files.content(file)) == (TEXT, TEXT)
        assert await files.swept() == {}

    async def test_returns_the_same_file(self, files: Files, own_storage: Storage) -> None:
        broken = await failing(own_storage, "put_object", is_done=True)
        for held in (Held(files.storage), HeldBefore(broken)):
            upload = await files.announced()

            async with asyncio.TaskGroup() as group:
                retry = group.create_task(files.complete(upload, storage=held))
                await held.reached.wait()
                file = await files.complete(upload)
                held.resume.set()

            assert retry.result() == file
            assert await files.content(file) == TEXT
            await files.delete(file.id)
            assert await files.keys() == set()

    async def test_returns_the_file_if_the_other_has_removed_the_upload(self, files: Files) -> None:
        upload = await files.announced()

        class Overtaken(Held):
            @asynccontextmanager
            async def open(
                self, key: str, byte_range: ByteRange | None = None
            ) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
                await files.complete(upload)
                async with self._storage.open(key, byte_range) as opened:
                    yield opened

        assert (await files.complete(upload, storage=Overtaken(files.storage))).id == upload


class TestSweep:
    async def test_leaves_files_and_pending_uploads_alone(self, files: Files) -> None:
        ready = FileFactory.build(owner_id=files.owner.id)
        pending = PendingFileFactory.build(owner_id=files.owner.id)
        await files.arrange.store(ready, pending)
        owner_id, pending_id = files.owner.id, FileId(pending.id)
        keys = {key_for(owner_id, pending_id) for key_for in (attempt_at, incoming_key)}
        keys |= {key_of(ready), "files/other"}
        await files.put(*keys)

        assert await files.swept() == {}
        assert await files.states() == ["pending", "ready"]
        assert await files.keys() == keys

    async def test_is_part_of_maintenance(self, files: Files) -> None:
        past = utc_now() - LONG_AGO
        row = PendingFileFactory.build(owner_id=files.owner.id, expires_at=past)
        await files.arrange.store(row)
        report = await delete_expired(files.resources)
        names = ("expired_uploads", "objects_without_a_file", "unfinished_parts")
        assert [report[name] for name in names] == [1, 0, 0]
