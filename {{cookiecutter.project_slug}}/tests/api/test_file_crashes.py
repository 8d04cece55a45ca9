"""What is left of files where the service crashed, and what mends it: see docs/adr/0009-files.md.

A crash is put where it hurts: the state that it leaves is made, and then the sweep comes.
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
from app.core.storage import (
    ByteRange,
    FileStore,
    FileStoreUnavailable,
    StoredFile,
)
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
from app.infrastructure.database import Database, Session
from app.infrastructure.storage import Storage
from app.resources import Resources
from app.services.files import FileSweep
from app.tasks.pruning import delete_expired
from tests.support.arrange import Arrange, Someone
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
    uploads_of,
    with_storage_settings,
)
from tests.support.resources import replaced
from tests.support.s3_plugin import nobody

NOTHING = {"expired_uploads": 0, "objects_without_a_file": 0, "unfinished_parts": 0}
LONG_AGO = timedelta(days=1)
PATIENCE = 10.0


@pytest.fixture
def resources(own_app: FastAPI, own_storage: Storage) -> Resources:
    """Resources with a database and a folder of their own."""
    own_app.state.resources = replaced(own_app.state.resources, storage=own_storage)
    opened: Resources = own_app.state.resources
    return opened


@pytest.fixture
async def ada(arrange_own: Arrange) -> Someone:
    return await arrange_own.someone()


@pytest.fixture
async def upload(resources: Resources, ada: Someone) -> FileId:
    """A direct upload that is there, and not completed."""
    announced = AnnouncedFile("a.txt", "text/plain", len(TEXT), hashlib.sha256(TEXT).hexdigest())
    upload = await uploads_of(resources).announce(ada.id, announced)
    await resources.storage.put(incoming_key(upload.id), one_chunk(), media_type="text/plain")
    return upload.id


@pytest.fixture
def put(resources: Resources) -> Callable[[str], Any]:
    """Put something under a key."""

    async def put_text(key: str) -> None:
        await resources.storage.put(key, one_chunk(), media_type="text/plain")

    return put_text


async def one_chunk(data: bytes = TEXT) -> AsyncIterator[bytes]:
    yield data


async def rows(arrange: Arrange) -> list[str]:
    return sorted(state for (state,) in await arrange.rows(select(models.File.state)))


def a_try(file_id: FileId) -> str:
    """Where somebody has tried to store the content of a file."""
    return stored_key(file_id, ContentId(new_id()))


async def content_of(resources: Resources, file: File) -> bytes:
    async with files_of(resources).content(file, None) as (_, found):
        return b"".join([chunk async for chunk in found])


def with_storage(resources: Resources, storage: Any) -> Resources:
    """The same resources, with what stands for the store."""
    return replaced(resources, storage=storage)


async def refusal(attempt: Awaitable[object]) -> DomainError | None:
    try:
        await attempt
    except DomainError as error:
        return error
    return None


class Held:
    """A store that has put something, and says so when it may."""

    def __init__(self, storage: FileStore) -> None:
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
    """A store that is about to put something, and does so when it may."""

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, media_type: str) -> StoredFile:
        data = b"".join([chunk async for chunk in chunks])
        self.reached.set()
        await self.resume.wait()
        return await self._storage.put(key, one_chunk(data), media_type=media_type)


class FailingOnce(Database):
    """A database that fails in the nth transaction: before its commit, or when that is done."""

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
    async def test_is_mended_after_a_crash_before_its_content_came(
        self, resources: Resources, arrange_own: Arrange, ada: Someone
    ) -> None:
        expired = {"created_at": utc_now() - LONG_AGO, "expires_at": utc_now() - LONG_AGO / 2}
        await arrange_own.store(PendingFileFactory.build(owner_id=ada.id, **expired))

        assert await sweep(resources) == NOTHING | {"expired_uploads": 1}

        assert await rows(arrange_own) == []

    @pytest.mark.parametrize("key_for", [a_try, incoming_key])
    async def test_is_mended_after_a_crash_before_its_row_was_ready(
        self,
        resources: Resources,
        arrange_own: Arrange,
        ada: Someone,
        put: Callable[[str], Any],
        key_for: Callable[[FileId], str],
    ) -> None:
        row = PendingFileFactory.build(owner_id=ada.id, expires_at=utc_now() - LONG_AGO)
        await arrange_own.store(row)
        await put(key_for(FileId(row.id)))

        swept = await sweep(resources)

        assert swept == NOTHING | {"expired_uploads": 1, "objects_without_a_file": 1}

        assert await rows(arrange_own) == []
        assert await keys_of(resources) == set()

    async def test_is_mended_after_a_crash_between_two_parts(
        self, resources: Resources, moto_settings: StorageSettings, ada: Someone
    ) -> None:
        # This server says of every upload that it was begun years ago.
        async with AsyncExitStack() as stack:
            storage = Storage(moto_settings, stack)
            client = await storage._client()
            key = f"{moto_settings.directory}/files/{new_id()}"
            where: Any = {"Bucket": moto_settings.bucket, "Key": key}
            begun = await client.create_multipart_upload(**where)
            await client.upload_part(
                **where, UploadId=begun["UploadId"], PartNumber=1, Body=bytes(5 * MEBIBYTE)
            )

            swept = await sweep(replaced(resources, storage=storage))

            assert swept["unfinished_parts"] == 1
            listed = await client.list_multipart_uploads(Bucket=moto_settings.bucket)
            assert key not in {each["Key"] for each in listed.get("Uploads", ())}

    async def test_leaves_nothing_if_its_row_can_not_become_ready(
        self, resources: Resources, arrange_own: Arrange, ada: Someone
    ) -> None:
        database = FailingOnce(resources.database, 2, after_commit=False)
        service = uploads_of(replaced(resources, database=database))

        with pytest.raises(DatabaseUnavailable):
            await service.upload(ada.id, IncomingFile("a.txt", "text/plain", one_chunk(), None))

        assert await rows(arrange_own) == []
        assert await keys_of(resources) == set()

    async def test_keeps_the_content_if_only_the_news_of_the_commit_was_lost(
        self, resources: Resources, arrange_own: Arrange, ada: Someone
    ) -> None:
        database = FailingOnce(resources.database, 2, after_commit=True)
        service = uploads_of(replaced(resources, database=database))

        with pytest.raises(DatabaseUnavailable):
            await service.upload(ada.id, IncomingFile("a.txt", "text/plain", one_chunk(), None))

        assert await rows(arrange_own) == ["ready"]
        assert len(await keys_of(resources)) == 1
        assert await sweep(resources) == NOTHING


class TestDelete:
    async def test_is_mended_after_a_crash_before_the_content_went(
        self, resources: Resources, put: Callable[[str], Any]
    ) -> None:
        await put(a_try(FileId(new_id())))
        await put(incoming_key(FileId(new_id())))

        swept = await sweep(resources)

        assert swept == NOTHING | {"objects_without_a_file": 2}
        assert await keys_of(resources) == set()

    async def test_is_done_while_the_store_is_away(
        self,
        own_app: FastAPI,
        own_client: httpx2.AsyncClient,
        resources: Resources,
        arrange_own: Arrange,
        ada: Someone,
    ) -> None:
        file = await uploads_of(resources).upload(
            ada.id, IncomingFile("a.txt", "text/plain", one_chunk(), None)
        )
        absent = nobody(resources.settings.storage)
        async with AsyncExitStack() as stack:
            own_app.state.resources = replaced(resources, storage=Storage(absent, stack))
            response = await own_client.delete(f"{FILES}/{file.id}", headers=ada.headers)
            with pytest.raises(FileStoreUnavailable):
                await sweep(own_app.state.resources)

        assert response.status_code == 204
        assert await rows(arrange_own) == []
        swept = await sweep(resources)
        assert swept == NOTHING | {"objects_without_a_file": 1}

    async def test_removes_all_there_is_at_the_same_time(
        self, resources: Resources, ada: Someone, upload: FileId
    ) -> None:
        both = asyncio.Barrier(2)

        class Together(Held):
            async def delete(self, key: str) -> None:
                async with both:
                    await self._storage.delete(key)

        await uploads_of(resources).complete(ada.id, upload)
        patient = with_storage_settings(resources, removal_timeout=PATIENCE)

        together = with_storage(patient, Together(resources.storage))
        await files_of(together).delete(ada.id, upload)

        assert await keys_of(resources) == set()

    async def test_is_not_held_up_by_a_store_that_hangs(
        self, resources: Resources, arrange_own: Arrange, ada: Someone
    ) -> None:
        class Hanging(Held):
            async def delete(self, key: str) -> None:
                await self.resume.wait()

        file = await uploads_of(resources).upload(
            ada.id, IncomingFile("a.txt", "text/plain", one_chunk(), None)
        )
        hasty = with_storage_settings(resources, removal_timeout=0.01)
        hanging = with_storage(hasty, Hanging(resources.storage))

        async with asyncio.timeout(PATIENCE):
            await files_of(hanging).delete(ada.id, file.id)

        assert await rows(arrange_own) == []
        swept = await sweep(resources)
        assert swept == NOTHING | {"objects_without_a_file": 1}

    async def test_of_the_owner_is_of_the_files(
        self, resources: Resources, arrange_own: Arrange, ada: Someone
    ) -> None:
        await uploads_of(resources).upload(
            ada.id, IncomingFile("a.txt", "text/plain", one_chunk(), None)
        )
        await arrange_own.execute(delete(models.User).where(models.User.id == ada.id))

        assert await rows(arrange_own) == []
        swept = await sweep(resources)
        assert swept == NOTHING | {"objects_without_a_file": 1}


class TestDirectUpload:
    async def test_that_came_too_late_is_swept(
        self,
        resources: Resources,
        arrange_own: Arrange,
        ada: Someone,
        put: Callable[[str], Any],
    ) -> None:
        row = FileFactory.build(owner_id=ada.id)
        await arrange_own.store(row)
        await put(key_of(row))
        await put(incoming_key(FileId(row.id)))

        swept = await sweep(resources)

        assert swept == NOTHING | {"objects_without_a_file": 1}
        assert await keys_of(resources) == {key_of(row)}

    async def test_is_mended_after_a_crash_of_a_try_beside_the_one_that_made_the_file(
        self,
        resources: Resources,
        arrange_own: Arrange,
        ada: Someone,
        put: Callable[[str], Any],
    ) -> None:
        row = FileFactory.build(owner_id=ada.id)
        await arrange_own.store(row)
        await put(key_of(row))
        await put(a_try(FileId(row.id)))

        swept = await sweep(resources)

        assert swept == NOTHING | {"objects_without_a_file": 1}
        assert await keys_of(resources) == {key_of(row)}

    async def test_is_mended_after_a_crash_before_what_was_cancelled_went(
        self,
        resources: Resources,
        arrange_own: Arrange,
        ada: Someone,
        put: Callable[[str], Any],
    ) -> None:
        soon = utc_now() + LONG_AGO
        row = FileFactory.build(owner_id=ada.id, state="cancelled", expires_at=soon)
        await arrange_own.store(row)
        await put(key_of(row))
        await put(incoming_key(FileId(row.id)))

        swept = await sweep(resources)

        assert swept == NOTHING | {"objects_without_a_file": 2}
        assert await rows(arrange_own) == ["cancelled"]

    async def test_can_be_completed_after_its_row_could_not_become_ready(
        self, resources: Resources, arrange_own: Arrange, ada: Someone, upload: FileId
    ) -> None:
        uploads = uploads_of(resources)
        database = FailingOnce(resources.database, 1, after_commit=False)

        with pytest.raises(DatabaseUnavailable):
            await uploads_of(replaced(resources, database=database)).complete(ada.id, upload)

        assert await rows(arrange_own) == ["pending"]
        assert await sweep(resources) == NOTHING
        assert await content_of(resources, await uploads.complete(ada.id, upload)) == TEXT
        assert await sweep(resources) == NOTHING | {"objects_without_a_file": 1}
        file = await files_of(resources).find(ada.id, upload)
        assert await content_of(resources, file) == TEXT

    async def test_is_a_file_if_only_the_news_of_the_commit_was_lost(
        self, resources: Resources, arrange_own: Arrange, ada: Someone, upload: FileId
    ) -> None:
        uploads = uploads_of(resources)
        database = FailingOnce(resources.database, 1, after_commit=True)

        with pytest.raises(DatabaseUnavailable):
            await uploads_of(replaced(resources, database=database)).complete(ada.id, upload)

        assert await rows(arrange_own) == ["ready"]
        assert await sweep(resources) == NOTHING
        assert await content_of(resources, await uploads.complete(ada.id, upload)) == TEXT

    async def test_is_given_up_if_its_time_ends_while_it_is_completed(
        self, resources: Resources, arrange_own: Arrange, ada: Someone, upload: FileId
    ) -> None:
        uploads = uploads_of(with_storage(resources, Held(resources.storage)))
        soon = utc_now() + timedelta(seconds=0.5)
        await arrange_own.execute(update(models.File).values(expires_at=soon))

        with pytest.raises(UploadExpired):
            await uploads.complete(ada.id, upload)

        swept = await sweep(resources)
        assert swept["expired_uploads"] == 1
        assert await rows(arrange_own) == []
        assert await keys_of(resources) == set()

    async def test_that_is_cancelled_while_it_is_completed_leaves_nothing(
        self, resources: Resources, arrange_own: Arrange, ada: Someone, upload: FileId
    ) -> None:
        held = Held(resources.storage)
        uploads = uploads_of(with_storage(resources, held))

        async with asyncio.TaskGroup() as group:
            task = group.create_task(refusal(uploads.complete(ada.id, upload)))
            await held.reached.wait()
            await files_of(resources).delete(ada.id, upload)
            held.resume.set()

        assert type(task.result()) is UploadExpired
        assert await rows(arrange_own) == ["cancelled"]
        assert await keys_of(resources) == set()


class TestCompletedTwiceAtOnce:
    async def test_keeps_what_was_announced_whatever_is_sent_meanwhile(
        self, resources: Resources, ada: Someone, upload: FileId
    ) -> None:
        storage = resources.storage
        first, second = Held(storage), Held(storage)
        one, other = [uploads_of(with_storage(resources, held)) for held in (first, second)]

        async with asyncio.TaskGroup() as group:
            good = group.create_task(one.complete(ada.id, upload))
            await first.reached.wait()
            another = one_chunk(TEXT[::-1])
            await storage.put(incoming_key(upload), another, media_type="text/plain")
            bad = group.create_task(refusal(other.complete(ada.id, upload)))
            await second.reached.wait()
            first.resume.set()
            file = await good
            meanwhile = await content_of(resources, file)
            second.resume.set()

        assert type(bad.result()) is UploadIncomplete
        assert (meanwhile, await content_of(resources, file)) == (TEXT, TEXT)
        assert await sweep(resources) == NOTHING

    async def test_is_the_same_file_if_the_store_fails_one_of_the_tries(
        self, resources: Resources, own_storage: Storage, ada: Someone, upload: FileId
    ) -> None:
        broken = HeldBefore(await failing(own_storage, "put_object", is_done=True))
        uploads = uploads_of(with_storage(resources, broken))

        async with asyncio.TaskGroup() as group:
            retry = group.create_task(uploads.complete(ada.id, upload))
            await broken.reached.wait()
            file = await uploads_of(resources).complete(ada.id, upload)
            broken.resume.set()

        assert retry.result() == file
        assert await content_of(resources, file) == TEXT
        assert await keys_of(resources) == {stored_key(file.id, file.content_id)}

    async def test_is_the_same_file_both_times(
        self, resources: Resources, ada: Someone, upload: FileId
    ) -> None:
        held = Held(resources.storage)
        uploads = uploads_of(with_storage(resources, held))

        async with asyncio.TaskGroup() as group:
            retry = group.create_task(uploads.complete(ada.id, upload))
            await held.reached.wait()
            file = await uploads_of(resources).complete(ada.id, upload)
            held.resume.set()

        assert retry.result() == file
        assert await keys_of(resources) == {stored_key(file.id, file.content_id)}

    async def test_is_the_same_file_if_the_other_try_has_taken_away_what_was_sent(
        self, resources: Resources, ada: Someone, upload: FileId
    ) -> None:
        class Overtaken(Held):
            @asynccontextmanager
            async def open(
                self, key: str, byte_range: ByteRange | None = None
            ) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
                await uploads_of(resources).complete(ada.id, upload)
                async with self._storage.open(key, byte_range) as opened:
                    yield opened

        overtaken = uploads_of(with_storage(resources, Overtaken(resources.storage)))
        assert (await overtaken.complete(ada.id, upload)).id == upload


class TestSweep:
    async def test_touches_nothing_that_is_in_use_or_under_way(
        self,
        resources: Resources,
        arrange_own: Arrange,
        ada: Someone,
        put: Callable[[str], Any],
    ) -> None:
        ready = FileFactory.build(owner_id=ada.id)
        pending = PendingFileFactory.build(owner_id=ada.id)
        await arrange_own.store(ready, pending)
        for key in (
            key_of(ready),
            a_try(FileId(pending.id)),
            incoming_key(FileId(pending.id)),
            "files/not-one-of-ours",
        ):
            await put(key)
        before = await keys_of(resources)

        assert await sweep(resources) == NOTHING

        assert await rows(arrange_own) == ["pending", "ready"]
        assert await keys_of(resources) == before

    async def test_is_a_part_of_maintenance(
        self, resources: Resources, arrange_own: Arrange, ada: Someone
    ) -> None:
        await arrange_own.store(PendingFileFactory.build(owner_id=ada.id))
        await arrange_own.execute(update(models.File).values(expires_at=utc_now() - LONG_AGO))

        report = await delete_expired(resources)

        assert {name: report.get(name) for name in NOTHING} == NOTHING | {"expired_uploads": 1}


async def sweep(resources: Resources) -> dict[str, int]:
    files = FileSweep(resources.database, resources.storage, resources.settings.storage)
    return await files.prune()
