"""The store in a bucket, beyond the contract of all stores."""

import asyncio
import errno
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from app.core.clock import utc_now
from app.core.config.storage import StorageSettings
from app.core.storage import FileStoreUnavailable
from app.infrastructure.storage import Storage
from tests.support.files import MEBIBYTE, TEXT, failing
from tests.support.s3_plugin import SMALLEST_PART, nobody

PATIENCE = 5.0
FAR = utc_now() + timedelta(days=1)


@asynccontextmanager
async def store_with(settings: StorageSettings, **changes: Any) -> AsyncIterator[Storage]:
    async with AsyncExitStack() as stack:
        yield Storage(settings.model_copy(update=changes), stack)


async def chunks(*data: bytes) -> AsyncIterator[bytes]:
    for each in data:
        yield each


class TestConfiguration:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"secret_access_key": SecretStr("0123456789abcdef")}, "SignatureDoesNotMatch"),
            ({"bucket": "another"}, None),
        ],
        ids=["credentials", "bucket"],
    )
    async def test_is_checked(
        self, s3_settings: StorageSettings, changes: dict[str, Any], reason: str | None
    ) -> None:
        async with store_with(s3_settings, **changes) as storage:
            with pytest.raises(FileStoreUnavailable):
                await storage.ping()
            with pytest.raises(FileStoreUnavailable) as refused:
                await storage.put("files/a", chunks(TEXT), media_type="text/plain")
        assert reason in {None, refused.value.context["reason"]}


class TestOutage:
    async def test_makes_every_method_unavailable(self, s3_settings: StorageSettings) -> None:
        async with AsyncExitStack() as stack:
            storage = Storage(nobody(s3_settings), stack)
            asked = (
                storage.ping(),
                storage.delete("files/a"),
                storage.abort_unfinished(FAR),
                storage.put("files/a", chunks(TEXT), media_type="text/plain"),
                storage.put("files/a", chunks(bytes(9 * MEBIBYTE)), media_type="video/mp4"),
                storage.open("files/a").__aenter__(),
                anext(aiter(storage.list(""))),
            )
            for each in asked:
                with pytest.raises(FileStoreUnavailable):
                    await each

    @pytest.mark.parametrize(
        "size", [None, 10, 6 * MEBIBYTE], ids=["ping", "one part", "several parts"]
    )
    async def test_is_bounded_in_time(self, s3_settings: StorageSettings, size: int | None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            hasty = {"endpoint_url": address, "call_timeout": 0.05, "removal_timeout": 0.05}
            async with (
                store_with(s3_settings, part_size=SMALLEST_PART, **hasty) as storage,
                asyncio.timeout(PATIENCE),
            ):
                data = chunks(bytes(size or 0))
                put = storage.put("files/a", data, media_type="video/mp4")
                with pytest.raises(FileStoreUnavailable) as refused:
                    await (put if size else storage.ping())
                put.close()
        assert refused.value.context == {"reason": "no answer in time"}


class TestFailedPut:
    @pytest.mark.parametrize("is_done", [False, True], ids=["not done", "done"])
    @pytest.mark.parametrize(
        ("call", "size"),
        [
            ("put_object", 10),
            ("create_multipart_upload", 9 * MEBIBYTE),
            ("upload_part", 9 * MEBIBYTE),
            ("complete_multipart_upload", 9 * MEBIBYTE),
        ],
    )
    async def test_leaves_nothing(
        self, own_storage: Storage, call: str, size: int, is_done: bool
    ) -> None:
        broken = await failing(own_storage, call, is_done=is_done)

        with pytest.raises(FileStoreUnavailable):
            await broken.put("files/a", chunks(bytes(size)), media_type="video/mp4")

        assert [each.key async for each in own_storage.list("")] == []
        # Only the sweep finds an upload whose id was lost.
        lost = int(call == "create_multipart_upload" and is_done)
        assert await own_storage.abort_unfinished(FAR) == lost

    async def test_tells_that_the_disk_of_temporary_files_is_full(
        self, own_storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def is_full(_: object) -> bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("app.infrastructure.storage._take", is_full)
        with pytest.raises(FileStoreUnavailable) as refused:
            await own_storage.put("files/a", chunks(TEXT), media_type="text/plain")
        assert refused.value.context == {"reason": "No space left on device"}

    async def test_is_reported_even_if_the_cleanup_fails(self, own_storage: Storage) -> None:
        broken = await failing(own_storage, "put_object", is_done=False)
        broken = await failing(broken, "delete_object", is_done=False)
        with pytest.raises(FileStoreUnavailable):
            await broken.put("files/a", chunks(TEXT), media_type="text/plain")


class OneByOne:
    """A client whose lists have one entry per page."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def list_objects_v2(self, **arguments: Any) -> Any:
        return await self._client.list_objects_v2(**arguments, MaxKeys=1)

    async def list_multipart_uploads(self, **arguments: Any) -> Any:
        return await self._client.list_multipart_uploads(**arguments, MaxUploads=1)


@pytest.fixture
async def paged(own_storage: Storage) -> Storage:
    storage = copy(own_storage)
    client: Any = OneByOne(await own_storage._client())
    storage._clients = {own_storage._settings.endpoint_url: client}
    return storage


class TestPages:
    async def test_of_objects_are_all_read(self, paged: Storage) -> None:
        for number in range(3):
            await paged.put(f"files/{number}", chunks(TEXT), media_type="text/plain")
        keys = [each.key async for each in paged.list("files/")]
        assert keys == ["files/0", "files/1", "files/2"]

    async def test_of_unfinished_uploads_are_all_read(self, paged: Storage) -> None:
        client = await paged._client()
        for name in ("a", "b", "c"):
            key = f"{paged._folder}files/{name}"
            await client.create_multipart_upload(Bucket=paged._bucket, Key=key)

        assert await paged.abort_unfinished(utc_now() - timedelta(hours=1)) == 0
        assert await paged.abort_unfinished(FAR) == 3


class TestSignedRequests:
    async def test_have_the_public_address(self, s3_settings: StorageSettings) -> None:
        public = {"public_endpoint_url": "https://files.example.com"}
        async with store_with(s3_settings, **public) as storage:
            url = await storage.signed_get(
                "files/a", media_type="text/plain", disposition="attachment", seconds=60
            )
        assert url.startswith("https://files.example.com/app/")

    async def test_expire(self, own_storage: Storage) -> None:
        await own_storage.put("files/a", chunks(TEXT), media_type="text/plain")
        url = await own_storage.signed_get(
            "files/a", media_type="text/plain", disposition="attachment", seconds=60
        )
        assert "X-Amz-Expires=60" in url
        later = url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
        async with httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport()) as client:
            good, stretched = [(await client.get(url)).status_code for url in (url, later)]
        assert (good, stretched) == (200, 403)


class TestStalledPut:
    async def test_holds_no_part_in_memory(self, own_storage: Storage) -> None:
        stalled = asyncio.Semaphore(0)

        async def stalling() -> AsyncIterator[bytes]:
            for _ in range(SMALLEST_PART // 65_536 - 1):
                yield bytes(65_536)
            stalled.release()
            await asyncio.Event().wait()

        tracemalloc.start()
        puts = [
            asyncio.create_task(own_storage.put(f"files/{n}", stalling(), media_type="video/mp4"))
            for n in range(4)
        ]
        for _ in puts:
            await stalled.acquire()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        for put in puts:
            put.cancel()
        await asyncio.gather(*puts, return_exceptions=True)

        assert held < len(puts) * 256 * 1024
