"""File store in a bucket of S3 or a compatible store."""

import asyncio
import hashlib
import importlib
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from app.core.config.storage import StorageSettings
from app.core.storage import (
    ByteRange,
    FileStoreUnavailable,
    ObjectNotFound,
    StoredFile,
    StoredObject,
)

if TYPE_CHECKING:  # stubs, not installed in production
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

_CONNECTIONS: Final = 100
_CHUNK_BYTES: Final = 64 * 1024
_NOT_FOUND: Final = frozenset({"404", "NoSuchKey", "NoSuchUpload", "NotFound"})


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that its holder may send until it expires.

    Attributes:
        url: Contains the signature, so it is a secret.
        headers: Covered by the signature: to be sent unchanged.
    """

    url: str
    headers: dict[str, str]


@asynccontextmanager
async def open_storage(settings: StorageSettings) -> AsyncIterator["Storage"]:
    """Yield the store, and close it afterwards."""
    async with AsyncExitStack() as stack:
        yield Storage(settings, stack)


class Storage:
    """Objects in one folder of a bucket."""

    def __init__(self, settings: StorageSettings, stack: AsyncExitStack) -> None:
        """Create clients on first use; the stack closes them.

        Importing the library takes a second, which commands without files need not wait for.
        """
        self._settings = settings
        self._bucket = settings.bucket
        self._folder = f"{settings.directory}/" if settings.directory else ""
        self._stack = stack
        self._opening = asyncio.Lock()
        self._clients: dict[str, S3Client] = {}

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, media_type: str) -> StoredFile:
        """Store or replace an object: in parts, one in memory at a time, unless it is small."""
        upload = _Upload(await self._client(), self._settings, self._folder + key, media_type)
        buffer = bytearray()
        try:
            async for chunk in chunks:
                buffer += chunk
                while len(buffer) >= self._settings.part_size:
                    part = bytes(memoryview(buffer)[: self._settings.part_size])
                    del buffer[: self._settings.part_size]
                    await upload.add(part)
            return await upload.finish(bytes(buffer))
        except BaseException:
            buffer.clear()
            await upload.undo()
            raise

    @asynccontextmanager
    async def open(
        self, key: str, byte_range: ByteRange | None = None
    ) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Open an object, or a range within it."""
        client = await self._client()
        request: dict[str, Any] = {"Bucket": self._bucket, "Key": self._folder + key}
        if byte_range is not None:
            request["Range"] = f"bytes={byte_range.first}-{byte_range.last}"
        async with self._call():
            response = await client.get_object(**request)
        body = response["Body"]

        async def read() -> AsyncIterator[bytes]:
            while True:
                async with self._call():
                    chunk = await body.read(_CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk

        total = response.get("ContentRange", "").rpartition("/")[2]
        try:
            yield int(total) if total.isdigit() else response["ContentLength"], read()
        finally:
            body.close()

    async def delete(self, key: str) -> None:
        """Delete an object, if it exists."""
        client = await self._client()
        with suppress(ObjectNotFound):
            async with self._call():
                await client.delete_object(Bucket=self._bucket, Key=self._folder + key)

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield the objects whose key starts with a prefix, ordered by key."""
        async for page in self._pages(
            "list_objects_v2", self._folder + prefix, ("ContinuationToken",)
        ):
            for each in page.get("Contents", ()):
                yield StoredObject(each["Key"].removeprefix(self._folder), each["LastModified"])

    async def abort_unfinished(self, before: datetime) -> int:
        """Abort the multipart uploads that began before a moment; return their number."""
        client = await self._client()
        aborted = 0
        markers = ("KeyMarker", "UploadIdMarker")
        async for page in self._pages("list_multipart_uploads", self._folder, markers):
            # In order: thousands at once would flood the store.
            for each in page.get("Uploads", ()):
                if each["Initiated"] < before:
                    with suppress(ObjectNotFound):
                        async with self._call():
                            await client.abort_multipart_upload(
                                Bucket=self._bucket, Key=each["Key"], UploadId=each["UploadId"]
                            )
                    aborted += 1
        return aborted

    async def ping(self) -> None:
        """Check that the bucket exists and lets us in."""
        client = await self._client()
        try:
            async with self._call():
                await client.head_bucket(Bucket=self._bucket)
        except ObjectNotFound as error:
            raise FileStoreUnavailable(reason="there is no such bucket") from error

    async def signed_put(
        self, key: str, *, size: int, media_type: str, sha256: str, seconds: int
    ) -> SignedRequest:
        """Sign a PUT of exactly these bytes; not all stores check the checksum.

        Raises:
            FileStoreUnavailable: There are no credentials.
        """
        checksum = b64encode(bytes.fromhex(sha256)).decode()
        url = await self._signed(
            "put_object",
            seconds,
            Key=self._folder + key,
            ContentLength=size,
            ContentType=media_type,
            ChecksumSHA256=checksum,
        )
        headers = {
            "Content-Length": str(size),
            "Content-Type": media_type,
            "x-amz-checksum-sha256": checksum,
        }
        return SignedRequest(url, headers)

    async def signed_get(
        self, key: str, *, media_type: str, disposition: str, seconds: int
    ) -> SignedRequest:
        """Sign a GET of an object; the response will have these headers.

        Raises:
            FileStoreUnavailable: There are no credentials.
        """
        url = await self._signed(
            "get_object",
            seconds,
            Key=self._folder + key,
            ResponseContentType=media_type,
            ResponseContentDisposition=disposition,
        )
        return SignedRequest(url, {})

    async def _signed(self, operation: str, seconds: int, **parameters: object) -> str:
        client = await self._client(self._settings.public_endpoint_url)
        parameters["Bucket"] = self._bucket
        async with self._call():
            return await client.generate_presigned_url(
                operation, Params=parameters, ExpiresIn=seconds
            )

    async def _pages(
        self, operation: str, prefix: str, markers: tuple[str, ...]
    ) -> AsyncIterator[dict[str, Any]]:
        request: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix}
        call = getattr(await self._client(), operation)
        while True:
            try:
                async with self._call():
                    page = await call(**request)
            except ObjectNotFound:
                return  # some stores' empty list
            yield page
            if not page.get("IsTruncated"):
                return
            request.update({name: page[f"Next{name}"] for name in markers})

    async def _client(self, address: str | None = None) -> "S3Client":
        address = address or self._settings.endpoint_url
        async with self._opening:
            if address not in self._clients:
                # Imported in a thread: it blocks for a second. Readiness probes come first.
                await asyncio.to_thread(importlib.import_module, "aioboto3")
                client = _create_client(self._settings, address)
                self._clients[address] = await self._stack.enter_async_context(client)
        return self._clients[address]

    def _call(self) -> Any:  # noqa: ANN401 - of contextlib's own
        return _call(self._settings.call_timeout)


class _Upload:
    """An object on its way into the bucket."""

    def __init__(
        self, client: "S3Client", settings: StorageSettings, key: str, media_type: str
    ) -> None:
        self._client = client
        self._settings = settings
        self._object: Any = {"Bucket": settings.bucket, "Key": key}
        self._media_type = media_type
        self._digest = hashlib.sha256()
        self._size = 0
        self._upload_id: str | None = None
        self._parts: list[CompletedPartTypeDef] = []
        self._may_exist = False

    async def add(self, part: bytes) -> None:
        """Send a part. All but the last have the same size."""
        if self._upload_id is None:
            async with _call(self._settings.call_timeout):
                created = await self._client.create_multipart_upload(
                    **self._object, ContentType=self._media_type
                )
            self._upload_id = created["UploadId"]
        await self._count(part)
        number = len(self._parts) + 1
        async with _call(self._settings.call_timeout):
            sent = await self._client.upload_part(
                **self._object, UploadId=self._upload_id, PartNumber=number, Body=part
            )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    async def finish(self, rest: bytes) -> StoredFile:
        """Send the rest, and make it an object."""
        if self._upload_id is None:
            await self._count(rest)
            self._may_exist = True
            async with _call(self._settings.call_timeout):
                await self._client.put_object(
                    **self._object, ContentType=self._media_type, Body=rest
                )
        else:
            if rest:
                await self.add(rest)
            self._may_exist = True
            async with _call(self._settings.call_timeout):
                await self._client.complete_multipart_upload(
                    **self._object,
                    UploadId=self._upload_id,
                    MultipartUpload={"Parts": self._parts},
                )
        return StoredFile(self._size, self._digest.hexdigest())

    async def undo(self) -> None:
        """Delete all traces, if the store is quick about it; `app prune` finds the rest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.removal_timeout):
                if self._upload_id is not None:
                    with suppress(FileStoreUnavailable, ObjectNotFound):
                        async with _call(self._settings.call_timeout):
                            await self._client.abort_multipart_upload(
                                **self._object, UploadId=self._upload_id
                            )
                if self._may_exist:
                    # The store may have created it, and only the response was lost.
                    with suppress(FileStoreUnavailable, ObjectNotFound):
                        async with _call(self._settings.call_timeout):
                            await self._client.delete_object(**self._object)

    async def _count(self, part: bytes) -> None:
        # In a thread: hashing a part takes milliseconds.
        await asyncio.to_thread(self._digest.update, part)
        self._size += len(part)


@asynccontextmanager
async def _call(seconds: float) -> AsyncIterator[None]:
    """Limit the time of a call, and translate its errors.

    Raises:
        ObjectNotFound: The store has no such object, upload or bucket.
        FileStoreUnavailable: The store failed or did not answer.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        family = ObjectNotFound if code in _NOT_FOUND else FileStoreUnavailable
        raise family(reason=code) from error
    except (BotoCoreError, aiohttp.ClientError, OSError) as error:
        reason = "no answer in time" if limit.expired() else type(error).__name__
        raise FileStoreUnavailable(reason=reason) from error


def _create_client(settings: StorageSettings, address: str) -> Any:  # noqa: ANN401 - has no type
    # Imported here: the library opens a socket on import, to try IPv6.
    import aioboto3  # noqa: PLC0415
    from aiobotocore.config import AioConfig  # noqa: PLC0415

    secret = settings.secret_access_key
    return aioboto3.Session().client(
        "s3",
        endpoint_url=address,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=AioConfig(
            signature_version="s3v4",
            s3={"addressing_style": settings.addressing_style},
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            retries={"mode": "standard", "total_max_attempts": settings.max_attempts},
            max_pool_connections=_CONNECTIONS,
            # Checksums in trailers: most stores but AWS lack them.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
