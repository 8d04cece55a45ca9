"""Uploads over sockets: long, concurrent and aborted ones."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

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
from app.infrastructure.limits import ConcurrencyLimiter
from app.infrastructure.storage import Storage
from app.main import create_app
from app.resources import Resources
from tests.support.arrange import Account, Arrange
from tests.support.files import (
    END,
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


@dataclass
class Service:
    """A service for large files on a port, with a user."""

    app: FastAPI
    http: httpx2.AsyncClient
    arrange: Arrange
    user: Account

    @property
    def resources(self) -> Resources:
        resources: Resources = self.app.state.resources
        return resources

    async def post(self, content: AsyncIterator[bytes]) -> httpx2.Response:
        headers = {**self.user.headers, **MULTIPART}
        return await self.http.post(FILES, headers=headers, content=content)

    def start(self, content: AsyncIterator[bytes]) -> "asyncio.Task[httpx2.Response]":
        return asyncio.create_task(self.post(content))

    async def rows(self) -> int:
        statement = select(func.count()).select_from(models.File)
        count: int = (await self.arrange.rows(statement))[0][0]
        return count

    async def has_begun(self) -> bool:
        return await self.rows() > 0

    async def is_empty(self) -> bool:
        return not await self.rows() and not await keys_of(self.resources)

    async def until_nothing_is_left(self) -> None:
        await eventually(self.is_empty, "nothing is left")
        assert await self.resources.storage.abort_unfinished(utc_now()) == 0


@pytest.fixture
async def service(
    make_settings: Callable[..., Settings],
    own_database_url: str,
    own_storage: Storage,
    recorded: Callable[[FastAPI], FastAPI],
    password_hash: str,
) -> AsyncIterator[Service]:
    storage = {"max_file_bytes": 100 * MEBIBYTE, "quota_bytes": 200 * MEBIBYTE}
    app = recorded(create_app(make_settings(own_database_url, storage=storage)))
    async with app.router.lifespan_context(app), served(app) as http:
        app.state.resources = replaced(app.state.resources, storage=own_storage)
        arrange = Arrange(lambda: app.state.resources, password_hash)
        yield Service(app, http, arrange, await arrange.account())


class Paused:
    """A body that pauses before its end."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.sent, self.resume = asyncio.Event(), asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield part()
        for chunk in self._chunks:
            yield chunk
        self.sent.set()
        await self.resume.wait()
        yield END


class TestMemory:
    async def test_does_not_grow_with_the_file(self, service: Service) -> None:
        size, block = 48 * MEBIBYTE, b"line of a file\n" * 4096
        count = size // len(block)
        await service.post(multipart(TEXT))
        tracemalloc.start()
        try:
            response = await service.post(multipart(*(block for _ in range(count))))
            up = tracemalloc.get_traced_memory()[1]
            assert response.status_code == 201, response.text
            tracemalloc.reset_peak()
            received = 0
            path = f"{FILES}/{response.json()['id']}/content"
            async with service.http.stream("GET", path, headers=service.user.headers) as content:
                async for chunk in content.aiter_bytes():
                    received += len(chunk)
            down = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert received == count * len(block)
        # At most five parts: one that fills, one that is sent, and their copies.
        assert up < 5 * SMALLEST_PART
        assert down < 8 * MEBIBYTE


class TestRefusal:
    async def test_reaches_clients_that_send_everything_first(self, service: Service) -> None:
        content = multipart(TEXT, b"a" * (4 * MEBIBYTE))
        refused = await service.http.post(FILES, headers=MULTIPART, content=content)
        assert refused.status_code == 401
        assert refused.headers["connection"] == "close"
        assert refused.json()["code"] == "unauthenticated"
        assert not await service.rows()


class TestConcurrentUploads:
    async def test_do_not_mix(self, service: Service) -> None:
        contents = [bytes([letter]) * (6 * MEBIBYTE) for letter in b"ab"]

        responses = await asyncio.gather(*(service.post(multipart(data)) for data in contents))

        for response, data in zip(responses, contents, strict=True):
            path = f"{FILES}/{response.json()['id']}/content"
            assert (await service.http.get(path, headers=service.user.headers)).content == data

    async def test_do_not_exceed_the_quota(self, service: Service) -> None:
        # Each upload reserves the size of the largest file.
        changes = {"quota_files": 3, "quota_bytes": 300 * MEBIBYTE}
        service.app.state.resources = with_storage_settings(service.resources, **changes)

        responses = await asyncio.gather(*(service.post(multipart(TEXT)) for _ in range(8)))

        assert sorted(each.status_code for each in responses) == [201] * 3 + [409] * 5
        assert await service.rows() == 3


class TestStalledUpload:
    async def test_leaves_others_alone_and_ends(self, service: Service) -> None:
        limiter = ConcurrencyLimiter(1)
        service.app.state.resources = replaced(service.resources, transfer_limiter=limiter)
        bob = await service.arrange.account()
        body = Paused(TEXT)
        stalled = service.start(aiter(body))
        async with asyncio.timeout(PATIENCE):
            await body.sent.wait()
        await eventually(service.has_begun, "the upload has begun")

        refused = await service.post(multipart(TEXT))
        others = await service.http.post(
            FILES, headers=bob.headers | MULTIPART, content=multipart(TEXT)
        )
        body.resume.set()

        assert refused.status_code == 429
        assert refused.json()["code"] == "too_many_concurrent_requests"
        assert others.status_code == 201
        assert (await stalled).status_code == 201
        assert (await service.post(multipart(TEXT))).status_code == 201


class TestAbortedUpload:
    @pytest.mark.parametrize("size", [100_000, 12 * MEBIBYTE], ids=["one part", "several parts"])
    async def test_leaves_nothing(self, service: Service, size: int) -> None:
        body = Paused(*(b"x" * 50_000 for _ in range(size // 50_000)))

        upload = service.start(aiter(body))
        async with asyncio.timeout(PATIENCE):
            await body.sent.wait()
        await eventually(service.has_begun, "the upload has begun")
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload

        await service.until_nothing_is_left()

    async def test_leaves_nothing_after_a_time_limit(self, service: Service) -> None:
        hasty = with_storage_settings(service.resources, upload_seconds=0)
        incoming = IncomingFile("note.txt", "text/plain", multipart(TEXT), None)

        with pytest.raises(UploadExpired):
            await uploads_of(hasty).upload(service.user.id, incoming)

        await service.until_nothing_is_left()

    async def test_leaves_nothing_after_its_deletion(self, service: Service) -> None:
        body = Paused(TEXT)
        upload = service.start(aiter(body))
        await eventually(service.has_begun, "the upload has begun")
        [(file_id,)] = await service.arrange.rows(select(models.File.id))
        path = f"{FILES}/{file_id}"
        cancelled = await service.http.delete(path, headers=service.user.headers)
        body.resume.set()

        assert cancelled.status_code == 204
        response = await upload
        assert (response.status_code, response.json()["code"]) == (409, "upload_expired")
        await service.until_nothing_is_left()


class TestUpload:
    async def test_holds_no_connection_to_the_database(self, service: Service) -> None:
        body = Paused(b"x" * 10_000)
        upload = service.start(aiter(body))
        async with asyncio.timeout(PATIENCE):
            await body.sent.wait()
        await eventually(service.has_begun, "the upload has begun")
        pool = service.resources.database.engine.pool

        assert isinstance(pool, QueuePool)
        assert pool.checkedout() == 0

        body.resume.set()
        assert (await upload).status_code == 201

    async def test_is_refused_to_a_deleted_account(self, service: Service) -> None:
        incoming = IncomingFile("note.txt", "text/plain", multipart(TEXT), None)
        with pytest.raises(InvalidToken):
            await uploads_of(service.resources).upload(UserId(new_id()), incoming)
