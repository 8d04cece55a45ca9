"""What is left of files where the service crashed, and what mends it: see docs/adr/0009-files.md.

A crash is put where it hurts: the state that it leaves is made, and then the sweep comes.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import delete, select, update

from app import models, wiring
from app.core.config.storage import StorageSettings
from app.domain.clock import utc_now
from app.domain.errors import DatabaseUnavailable
from app.domain.files import FileId, IncomingFile, incoming_key, stored_key
from app.domain.ids import new_id
from app.infrastructure.database import Database
from app.infrastructure.storage import Storage
from app.repositories.session import Session
from app.resources import Resources
from app.services.file_store import FileStoreUnavailable
from app.wiring.files import file_service, file_sweep
from tests.support.arrange import Arrange, Someone
from tests.support.files import (
    FILES,
    MEBIBYTE,
    TEXT,
    FileFactory,
    PendingFileFactory,
    keys_of,
)
from tests.support.s3_plugin import nobody

NOTHING = {"expired uploads": 0, "objects without a file": 0, "unfinished parts": 0}
LONG_AGO = timedelta(days=1)


@pytest.fixture
def resources(own_app: FastAPI, own_storage: Storage) -> Resources:
    """Resources with a database and a folder of their own."""
    own_app.state.resources = replace(own_app.state.resources, storage=own_storage)
    opened: Resources = own_app.state.resources
    return opened


@pytest.fixture
async def ada(arrange_own: Arrange) -> Someone:
    return await arrange_own.someone()


@pytest.fixture
def put(resources: Resources) -> Callable[[str], Any]:
    """Put something under a key."""

    async def put_text(key: str) -> None:
        await resources.storage.put(key, chunks(), media_type="text/plain")

    return put_text


async def chunks(data: bytes = TEXT) -> AsyncIterator[bytes]:
    yield data


async def rows(arrange: Arrange) -> list[str]:
    return sorted(state for (state,) in await arrange.rows(select(models.File.state)))


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

        assert await file_sweep(resources).sweep() == NOTHING | {"expired uploads": 1}

        assert await rows(arrange_own) == []

    @pytest.mark.parametrize("key_of", [stored_key, incoming_key])
    async def test_is_mended_after_a_crash_before_its_row_was_ready(
        self,
        resources: Resources,
        arrange_own: Arrange,
        ada: Someone,
        put: Callable[[str], Any],
        key_of: Callable[[FileId], str],
    ) -> None:
        row = PendingFileFactory.build(owner_id=ada.id, expires_at=utc_now() - LONG_AGO)
        await arrange_own.store(row)
        await put(key_of(FileId(row.id)))

        assert await file_sweep(resources).sweep() == NOTHING | {"expired uploads": 1}

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

            swept = await file_sweep(replace(resources, storage=storage)).sweep()

            assert swept["unfinished parts"] == 1
            listed = await client.list_multipart_uploads(Bucket=moto_settings.bucket)
            assert key not in {each["Key"] for each in listed.get("Uploads", ())}

    async def test_leaves_nothing_if_its_row_can_not_become_ready(
        self, resources: Resources, arrange_own: Arrange, ada: Someone
    ) -> None:
        database = FailingOnce(resources.database, 2, after_commit=False)
        service = replace(file_service(resources), database=database)

        with pytest.raises(DatabaseUnavailable):
            await service.upload(ada.id, IncomingFile("a.txt", "text/plain", chunks(), None))

        assert await rows(arrange_own) == []
        assert await keys_of(resources) == set()

    async def test_keeps_the_content_if_only_the_news_of_the_commit_was_lost(
        self, resources: Resources, arrange_own: Arrange, ada: Someone
    ) -> None:
        database = FailingOnce(resources.database, 2, after_commit=True)
        service = replace(file_service(resources), database=database)

        with pytest.raises(DatabaseUnavailable):
            await service.upload(ada.id, IncomingFile("a.txt", "text/plain", chunks(), None))

        assert await rows(arrange_own) == ["ready"]
        assert len(await keys_of(resources)) == 1
        assert await file_sweep(resources).sweep() == NOTHING


class TestDelete:
    async def test_is_mended_after_a_crash_before_the_content_went(
        self, resources: Resources, put: Callable[[str], Any]
    ) -> None:
        await put(stored_key(FileId(new_id())))
        await put(incoming_key(FileId(new_id())))

        swept = await file_sweep(resources).sweep()

        assert swept == NOTHING | {"objects without a file": 2}
        assert await keys_of(resources) == set()

    async def test_is_done_while_the_store_is_away(
        self,
        own_app: FastAPI,
        own_client: httpx2.AsyncClient,
        resources: Resources,
        arrange_own: Arrange,
        ada: Someone,
    ) -> None:
        file = await file_service(resources).upload(
            ada.id, IncomingFile("a.txt", "text/plain", chunks(), None)
        )
        absent = nobody(resources.settings.storage)
        async with AsyncExitStack() as stack:
            own_app.state.resources = replace(resources, storage=Storage(absent, stack))
            response = await own_client.delete(f"{FILES}/{file.id}", headers=ada.headers)
            with pytest.raises(FileStoreUnavailable):
                await file_sweep(own_app.state.resources).sweep()

        assert response.status_code == 204
        assert await rows(arrange_own) == []
        swept = await file_sweep(resources).sweep()
        assert swept == NOTHING | {"objects without a file": 1}

    async def test_of_the_owner_is_of_the_files(
        self, resources: Resources, arrange_own: Arrange, ada: Someone
    ) -> None:
        await file_service(resources).upload(
            ada.id, IncomingFile("a.txt", "text/plain", chunks(), None)
        )
        await arrange_own.execute(delete(models.User).where(models.User.id == ada.id))

        assert await rows(arrange_own) == []
        swept = await file_sweep(resources).sweep()
        assert swept == NOTHING | {"objects without a file": 1}


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
        await put(stored_key(FileId(row.id)))
        await put(incoming_key(FileId(row.id)))

        swept = await file_sweep(resources).sweep()

        assert swept == NOTHING | {"objects without a file": 1}
        assert await keys_of(resources) == {stored_key(FileId(row.id))}


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
            stored_key(FileId(ready.id)),
            stored_key(FileId(pending.id)),
            incoming_key(FileId(pending.id)),
            "files/not-one-of-ours",
        ):
            await put(key)
        before = await keys_of(resources)

        assert await file_sweep(resources).sweep() == NOTHING

        assert await rows(arrange_own) == ["pending", "ready"]
        assert await keys_of(resources) == before

    async def test_is_a_part_of_maintenance(
        self, resources: Resources, arrange_own: Arrange, ada: Someone
    ) -> None:
        await arrange_own.store(PendingFileFactory.build(owner_id=ada.id))
        await arrange_own.execute(update(models.File).values(expires_at=utc_now() - LONG_AGO))

        report = await wiring.maintenance(resources).prune()

        assert report.swept == NOTHING | {"expired uploads": 1}
