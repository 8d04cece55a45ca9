"""The store in a bucket, where it differs from other stores."""

import asyncio
import socket
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


class TestCredentials:
    async def test_are_checked(self, s3_settings: StorageSettings) -> None:
        wrong = {"secret_access_key": SecretStr("0123456789abcdef")}
        async with store_with(s3_settings, **wrong) as storage:
            with pytest.raises(FileStoreUnavailable):
                await storage.ping()
            with pytest.raises(FileStoreUnavailable) as refused:
                await storage.put("files/a", chunks(TEXT), media_type="text/plain")
        assert refused.value.context == {"reason": "SignatureDoesNotMatch"}


class TestBucket:
    async def test_must_exist(self, s3_settings: StorageSettings) -> None:
        async with store_with(s3_settings, bucket="another") as storage:
            with pytest.raises(FileStoreUnavailable, match="not available"):
                await storage.ping()
            with pytest.raises(FileStoreUnavailable):
                await storage.put("files/a", chunks(TEXT), media_type="text/plain")


class TestStoreThatIsAway:
    async def test_is_unavailable_however_it_is_asked(self, s3_settings: StorageSettings) -> None:
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

    async def test_is_not_waited_for_without_end(self, s3_settings: StorageSettings) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            hasty = {"endpoint_url": address, "max_attempts": 1, "call_timeout": 0.05}
            async with store_with(s3_settings, **hasty) as storage:
                with pytest.raises(FileStoreUnavailable) as refused:
                    await storage.ping()
        assert refused.value.context == {"reason": "no answer in time"}

    @pytest.mark.parametrize("size", [10, 6 * MEBIBYTE], ids=["one part", "several parts"])
    async def test_is_not_waited_for_to_clean_up(
        self, s3_settings: StorageSettings, size: int
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            hasty = {"endpoint_url": address, "call_timeout": 0.05, "removal_timeout": 0.05}
            async with (
                store_with(s3_settings, part_size=SMALLEST_PART, **hasty) as storage,
                asyncio.timeout(PATIENCE),
            ):
                with pytest.raises(FileStoreUnavailable) as refused:
                    await storage.put("files/a", chunks(bytes(size)), media_type="video/mp4")
        assert refused.value.context == {"reason": "no answer in time"}


class TestPutThatFails:
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
        # What was begun without anybody hearing of it, only the sweep can find.
        unheard = int(call == "create_multipart_upload" and is_done)
        assert await own_storage.abort_unfinished(FAR) == unheard

    async def test_says_so_even_if_it_can_not_clean_up(self, own_storage: Storage) -> None:
        broken = await failing(own_storage, "put_object", is_done=False)
        broken = await failing(broken, "delete_object", is_done=False)
        with pytest.raises(FileStoreUnavailable):
            await broken.put("files/a", chunks(TEXT), media_type="text/plain")


class TestLists:
    async def test_go_on_after_the_first_page(self, own_storage: Storage) -> None:
        for number in range(3):
            await own_storage.put(f"files/{number}", chunks(TEXT), media_type="text/plain")
        client: Any = await own_storage._client()

        class OneByOne:
            async def list_objects_v2(self, **arguments: Any) -> Any:
                return await client.list_objects_v2(**arguments, MaxKeys=1)

        paged = copy(own_storage)
        only: Any = OneByOne()
        paged._clients = {own_storage._settings.endpoint_url: only}

        keys = [each.key async for each in paged.list("files/")]
        assert keys == ["files/0", "files/1", "files/2"]


class TestAbortUnfinished:
    async def test_leaves_what_is_under_way(self, own_storage: Storage) -> None:
        client = await own_storage._client()
        where: Any = {"Bucket": own_storage._bucket, "Key": f"{own_storage._folder}files/a"}
        await client.create_multipart_upload(**where)

        assert await own_storage.abort_unfinished(utc_now() - timedelta(hours=1)) == 0
        assert await own_storage.abort_unfinished(FAR) == 1

    async def test_goes_on_after_the_first_page(self, own_storage: Storage) -> None:
        client: Any = await own_storage._client()
        for name in ("a", "b", "c"):
            key = f"{own_storage._folder}files/{name}"
            await client.create_multipart_upload(Bucket=own_storage._bucket, Key=key)

        class OneByOne:
            async def list_multipart_uploads(self, **arguments: Any) -> Any:
                return await client.list_multipart_uploads(**arguments, MaxUploads=1)

            async def abort_multipart_upload(self, **arguments: Any) -> Any:
                return await client.abort_multipart_upload(**arguments)

        paged = copy(own_storage)
        only: Any = OneByOne()
        paged._clients = {own_storage._settings.endpoint_url: only}

        assert await paged.abort_unfinished(FAR) == 3


class TestSignedRequests:
    async def test_name_the_address_that_clients_reach(self, s3_settings: StorageSettings) -> None:
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
