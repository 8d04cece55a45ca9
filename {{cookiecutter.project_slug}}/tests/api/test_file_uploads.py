"""Uploads as they happen on sockets: long ones, several at once, and such as break off."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.pool import QueuePool

from app import models
from app.config import Settings
from app.core.clock import utc_now
from app.core.errors import InvalidToken
from app.core.ids import new_id
from app.domain.files import IncomingFile, UploadExpired
from app.domain.users import UserId
from app.infrastructure.storage import Storage
from app.main import create_app
from app.resources import Resources
from tests.support.arrange import Arrange, Someone
from tests.support.files import (
    FILES,
    MEBIBYTE,
    MULTIPART,
    TEXT,
    keys_of,
    multipart,
    part,
    uploads_of,
    with_storage_settings,
)
from tests.support.resources import replaced
from tests.support.s3_plugin import SMALLEST_PART
from tests.support.serving import served
from tests.support.waiting import PATIENCE, eventually


@pytest.fixture
async def app(
    make_settings: Callable[..., Settings],
    own_database_url: str,
    own_storage: Storage,
    recorded: Callable[[FastAPI], FastAPI],
) -> AsyncIterator[FastAPI]:
    """An application that takes large files, with a database and a folder of its own."""
    storage = {
        "max_file_bytes": 100 * MEBIBYTE,
        "quota_bytes": 200 * MEBIBYTE,
    }
    app = recorded(create_app(make_settings(own_database_url, storage=storage)))
    async with app.router.lifespan_context(app):
        app.state.resources = replaced(app.state.resources, storage=own_storage)
        yield app


@pytest.fixture
def resources(app: FastAPI) -> Resources:
    opened: Resources = app.state.resources
    return opened


@pytest.fixture
def arrange(app: FastAPI, password_hash: str) -> Arrange:
    return Arrange(lambda: app.state.resources, password_hash)


@pytest.fixture
async def ada(arrange: Arrange) -> Someone:
    return await arrange.someone()


@pytest.fixture
async def sockets(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with served(app) as client:
        yield client


async def rows(arrange: Arrange) -> int:
    count: int = (await arrange.rows(select(func.count()).select_from(models.File)))[0][0]
    return count


async def until_there_is_a_row(arrange: Arrange) -> None:
    async def there_is_one() -> bool:
        return await rows(arrange) > 0

    await eventually(there_is_one, "the upload has begun")


async def until_nothing_is_left(arrange: Arrange, resources: Resources) -> None:
    async def nothing_is_left() -> bool:
        return not await rows(arrange) and not await keys_of(resources)

    await eventually(nothing_is_left, "nothing is left")
    assert await resources.storage.abort_unfinished(utc_now()) == 0


class TestMemory:
    async def test_does_not_grow_with_the_file(
        self, sockets: httpx2.AsyncClient, ada: Someone
    ) -> None:
        size, block = 48 * MEBIBYTE, b"line of a file\n" * 4096
        count = size // len(block)
        headers = {**ada.headers, **MULTIPART}
        await sockets.post(FILES, headers=headers, content=multipart(TEXT))
        tracemalloc.start()
        try:
            response = await sockets.post(
                FILES, headers=headers, content=multipart(*(block for _ in range(count)))
            )
            up = tracemalloc.get_traced_memory()[1]
            assert response.status_code == 201, response.text
            tracemalloc.reset_peak()
            received = 0
            path = f"{FILES}/{response.json()['id']}/content"
            async with sockets.stream("GET", path, headers=ada.headers) as content:
                async for chunk in content.aiter_bytes():
                    received += len(chunk)
            down = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert received == count * len(block)
        # Five parts, at most: one that fills, one that is sent, and their copies on the way.
        assert up < 5 * SMALLEST_PART
        assert down < 8 * MEBIBYTE


class TestRefusals:
    async def test_reach_clients_that_send_all_before_they_listen(
        self, sockets: httpx2.AsyncClient, arrange: Arrange
    ) -> None:
        content = multipart(TEXT, b"a" * (4 * MEBIBYTE))
        refused = await sockets.post(FILES, headers=MULTIPART, content=content)
        assert refused.status_code == 401
        assert refused.headers["connection"] == "close"
        assert refused.json()["code"] == "unauthenticated"
        assert not await rows(arrange)


class TestAtOnce:
    async def test_two_uploads_do_not_mix(self, sockets: httpx2.AsyncClient, ada: Someone) -> None:
        contents = [bytes([letter]) * (6 * MEBIBYTE) for letter in b"ab"]

        async def upload(data: bytes) -> bytes:
            headers = {**ada.headers, **MULTIPART}
            sent = await sockets.post(FILES, headers=headers, content=multipart(data))
            path = f"{FILES}/{sent.json()['id']}/content"
            return (await sockets.get(path, headers=ada.headers)).content

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(upload(data)) for data in contents]

        assert [task.result() for task in tasks] == contents

    async def test_many_do_not_take_more_room_than_there_is(
        self, sockets: httpx2.AsyncClient, arrange: Arrange, app: FastAPI, ada: Someone
    ) -> None:
        resources: Resources = app.state.resources
        storage = resources.settings.storage.model_copy(update={"quota_files": 3})
        settings = resources.settings.model_copy(update={"storage": storage})
        app.state.resources = replaced(resources, settings=settings)

        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    sockets.post(
                        FILES, headers=ada.headers, files={"file": ("a.txt", TEXT, "text/plain")}
                    )
                )
                for _ in range(8)
            ]

        statuses = sorted(task.result().status_code for task in tasks)
        assert statuses == [201] * 3 + [409] * 5
        assert await rows(arrange) == 3


class TestClientThatGoesAway:
    @pytest.mark.parametrize("size", [100_000, 12 * MEBIBYTE], ids=["one part", "several parts"])
    async def test_leaves_nothing(
        self,
        sockets: httpx2.AsyncClient,
        arrange: Arrange,
        resources: Resources,
        ada: Someone,
        size: int,
    ) -> None:
        sent = asyncio.Event()

        async def stalling() -> AsyncIterator[bytes]:
            yield part()
            for _ in range(size // 50_000):
                yield b"x" * 50_000
            sent.set()
            await asyncio.Event().wait()

        headers = {**ada.headers, **MULTIPART}
        upload = asyncio.create_task(sockets.post(FILES, headers=headers, content=stalling()))
        async with asyncio.timeout(PATIENCE):
            await sent.wait()
        await until_there_is_a_row(arrange)
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload

        await until_nothing_is_left(arrange, resources)

    async def test_keeps_no_connection_to_the_database_meanwhile(
        self, sockets: httpx2.AsyncClient, arrange: Arrange, resources: Resources, ada: Someone
    ) -> None:
        sent, resume = asyncio.Event(), asyncio.Event()

        async def pausing() -> AsyncIterator[bytes]:
            yield part() + b"x" * 10_000
            sent.set()
            await resume.wait()
            yield b"\r\n--boundary-of-tests--\r\n"

        headers = {**ada.headers, **MULTIPART}
        upload = asyncio.create_task(sockets.post(FILES, headers=headers, content=pausing()))
        async with asyncio.timeout(PATIENCE):
            await sent.wait()
        await until_there_is_a_row(arrange)
        pool = resources.database.engine.pool

        assert isinstance(pool, QueuePool)
        assert pool.checkedout() == 0

        resume.set()
        assert (await upload).status_code == 201


class TestUpload:
    async def test_that_takes_too_long_is_given_up(
        self, arrange: Arrange, resources: Resources, ada: Someone
    ) -> None:
        hasty = with_storage_settings(resources, upload_seconds=0)
        incoming = IncomingFile("note.txt", "text/plain", multipart(TEXT), None)

        with pytest.raises(UploadExpired):
            await uploads_of(hasty).upload(ada.id, incoming)

        await until_nothing_is_left(arrange, resources)

    async def test_is_refused_to_an_account_that_is_gone(self, resources: Resources) -> None:
        incoming = IncomingFile("note.txt", "text/plain", multipart(TEXT), None)

        with pytest.raises(InvalidToken):
            await uploads_of(resources).upload(UserId(new_id()), incoming)

    async def test_that_is_deleted_meanwhile_leaves_nothing(
        self, sockets: httpx2.AsyncClient, arrange: Arrange, resources: Resources, ada: Someone
    ) -> None:
        resume = asyncio.Event()

        async def pausing() -> AsyncIterator[bytes]:
            yield part() + TEXT
            await resume.wait()
            yield b"\r\n--boundary-of-tests--\r\n"

        headers = {**ada.headers, **MULTIPART}
        upload = asyncio.create_task(sockets.post(FILES, headers=headers, content=pausing()))
        await until_there_is_a_row(arrange)
        [(file_id,)] = await arrange.rows(select(models.File.id))
        cancelled = await sockets.delete(f"{FILES}/{file_id}", headers=ada.headers)
        resume.set()

        assert cancelled.status_code == 204
        response = await upload
        assert response.status_code == 409
        assert response.json()["code"] == "upload_expired"
        await until_nothing_is_left(arrange, resources)
