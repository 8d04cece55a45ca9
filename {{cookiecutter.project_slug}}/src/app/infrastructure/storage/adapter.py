"""Files in a bucket of S3, or of a store that speaks its language."""

import asyncio
import hashlib
import importlib
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from app.config import Settings
from app.core.config.storage import StorageSettings
from app.core.health import HealthCheck
from app.services.direct_store import SignedRequest
from app.services.file_store import (
    ByteRange,
    FileStoreUnavailable,
    ObjectNotFound,
    StoredFile,
    StoredKey,
    StoredObject,
)

if TYPE_CHECKING:  # the types are for the type checker, and are not installed in production
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

_CHUNK_BYTES: Final = 64 * 1024
_NOT_FOUND: Final = frozenset({"404", "NoSuchKey", "NotFound"})


@asynccontextmanager
async def open_storage(settings: Settings) -> AsyncIterator["Storage"]:
    """Yield the store, and close it afterwards.

    Its client is made when it is first used: what has nothing to do with files, such as most
    commands, need not wait for the library, which takes a while to learn the language of S3.
    """
    async with AsyncExitStack() as stack:
        yield Storage(settings.storage, stack, connections=settings.server.concurrency)


class Storage:
    """Objects in a bucket, all below one folder of it."""

    def __init__(
        self, settings: StorageSettings, stack: AsyncExitStack, *, connections: int = 32
    ) -> None:
        """Work with clients that this makes; whoever owns the stack closes them.

        Args:
            settings: Address, credentials and time limits.
            stack: Closes what is opened.
            connections: How many connections to keep.
        """
        self._settings = settings
        self._bucket = settings.bucket
        self._folder = f"{settings.directory}/" if settings.directory else ""
        self._stack = stack
        self._connections = connections
        self._opening = asyncio.Lock()
        self._clients: dict[str, S3Client] = {}
        self.health_checks = (HealthCheck("storage", self.ping, required=False),)

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, media_type: str) -> StoredFile:
        """Store what an iterator yields: at once if it is small, in parts if it isn't.

        One part is in memory at a time. Whatever goes wrong, nothing new is left under the key.

        Raises:
            FileStoreUnavailable: The store does not take it.
        """
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
    ) -> AsyncIterator[tuple[StoredObject, AsyncIterator[bytes]]]:
        """Yield an object's facts and its bytes, or those of a range.

        Raises:
            ObjectNotFound: There is none.
            FileStoreUnavailable: The store does not give it.
        """
        client = await self._client()
        wanted: dict[str, Any] = {"Bucket": self._bucket, "Key": self._folder + key}
        if byte_range is not None:
            wanted["Range"] = f"bytes={byte_range.first}-{byte_range.last}"
        async with self._calls():
            found = await client.get_object(**wanted)
        body = found["Body"]

        async def bytes_of_it() -> AsyncIterator[bytes]:
            while True:
                async with self._calls():
                    chunk = await body.read(_CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk

        total = found.get("ContentRange", "").rpartition("/")[2]
        size = int(total) if total.isdigit() else found["ContentLength"]
        try:
            yield StoredObject(size, _bare(found["ETag"])), bytes_of_it()
        finally:
            body.close()

    async def head(self, key: str) -> StoredObject | None:
        """Return the facts of an object, or None if there is none.

        Raises:
            FileStoreUnavailable: The store does not answer.
        """
        client = await self._client()
        try:
            async with self._calls():
                found = await client.head_object(Bucket=self._bucket, Key=self._folder + key)
        except ObjectNotFound:
            return None
        return StoredObject(found["ContentLength"], _bare(found["ETag"]))

    async def delete(self, key: str) -> None:
        """Remove an object, if it is there.

        Raises:
            FileStoreUnavailable: The store does not answer.
        """
        client = await self._client()
        with suppress(ObjectNotFound):
            async with self._calls():
                await client.delete_object(Bucket=self._bucket, Key=self._folder + key)

    async def list(self, prefix: str) -> AsyncIterator[StoredKey]:
        """Yield all objects whose key starts with this.

        Raises:
            FileStoreUnavailable: The store does not answer.
        """
        client = await self._client()
        wanted: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._folder + prefix}
        while True:
            try:
                async with self._calls():
                    page = await client.list_objects_v2(**wanted)
            except ObjectNotFound:
                return  # so some stores say that no key starts like this
            for each in page.get("Contents", ()):
                key = each["Key"].removeprefix(self._folder)
                yield StoredKey(key, each["Size"], each["LastModified"])
            if not page.get("IsTruncated"):
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    async def abort_unfinished(self, before: datetime) -> int:
        """Remove the parts of uploads that were begun before a moment and never completed.

        Raises:
            FileStoreUnavailable: The store does not answer.
        """
        client = await self._client()
        wanted: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._folder}
        aborted = 0
        while True:
            try:
                async with self._calls():
                    page = await client.list_multipart_uploads(**wanted)
            except ObjectNotFound:
                return aborted  # so some stores say that there are none
            # In order: thousands at once would be an attack on the store.
            for each in page.get("Uploads", ()):
                if each["Initiated"] < before:
                    with suppress(ObjectNotFound):
                        async with self._calls():
                            await client.abort_multipart_upload(
                                Bucket=self._bucket, Key=each["Key"], UploadId=each["UploadId"]
                            )
                    aborted += 1
            if not page.get("IsTruncated"):
                return aborted
            wanted["KeyMarker"] = page["NextKeyMarker"]
            wanted["UploadIdMarker"] = page["NextUploadIdMarker"]

    async def ping(self) -> None:
        """Pass if the bucket is there and lets us in.

        Raises:
            FileStoreUnavailable: It isn't, or doesn't.
        """
        client = await self._client()
        try:
            async with self._calls():
                await client.head_bucket(Bucket=self._bucket)
        except ObjectNotFound as error:
            raise FileStoreUnavailable(reason="there is no such bucket") from error

    async def signed_put(
        self, key: str, *, size: int, media_type: str, sha256: str, seconds: int
    ) -> SignedRequest:
        """Return a PUT of exactly these bytes, for a client to send.

        Raises:
            FileStoreUnavailable: There are no credentials to sign with.
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
        """Return a GET of an object, for a client to send.

        Raises:
            FileStoreUnavailable: There are no credentials to sign with.
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
        settings = self._settings
        client = await self._client(settings.public_endpoint_url)
        parameters["Bucket"] = self._bucket
        async with self._calls():
            return await client.generate_presigned_url(
                operation, Params=parameters, ExpiresIn=seconds
            )

    async def _client(self, address: str | None = None) -> "S3Client":
        """Return the client for an address, by default ours; it is made once."""
        address = address or self._settings.endpoint_url
        async with self._opening:
            if address not in self._clients:
                # Off the loop: it takes a second. Whoever asks for readiness asks first.
                await asyncio.to_thread(importlib.import_module, "aioboto3")
                made = _client_for(self._settings, address, self._connections)
                self._clients[address] = await self._stack.enter_async_context(made)
        return self._clients[address]

    def _calls(self) -> "_Calls":
        return _Calls(self._settings.call_timeout)


class _Upload:
    """One object on its way into the bucket."""

    def __init__(
        self, client: "S3Client", settings: StorageSettings, key: str, media_type: str
    ) -> None:
        self._client = client
        self._call_timeout = settings.call_timeout
        self._removal_timeout = settings.removal_timeout
        self._where: Any = {"Bucket": settings.bucket, "Key": key}
        self._media_type = media_type
        self._digest = hashlib.sha256()
        self._size = 0
        self._upload_id: str | None = None
        self._parts: list[CompletedPartTypeDef] = []
        self._may_be_there = False

    async def add(self, part: bytes) -> None:
        """Send a part. All but the last have the same size."""
        if self._upload_id is None:
            async with _Calls(self._call_timeout):
                begun = await self._client.create_multipart_upload(
                    **self._where, ContentType=self._media_type
                )
            self._upload_id = begun["UploadId"]
        await self._count(part)
        number = len(self._parts) + 1
        async with _Calls(self._call_timeout):
            sent = await self._client.upload_part(
                **self._where, UploadId=self._upload_id, PartNumber=number, Body=part
            )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    async def finish(self, rest: bytes) -> StoredFile:
        """Send what is left, and make an object of it all."""
        if self._upload_id is None:
            await self._count(rest)
            self._may_be_there = True
            async with _Calls(self._call_timeout):
                put = await self._client.put_object(
                    **self._where, ContentType=self._media_type, Body=rest
                )
            return self._stored(put["ETag"])
        if rest:
            await self.add(rest)
        self._may_be_there = True
        async with _Calls(self._call_timeout):
            completed = await self._client.complete_multipart_upload(
                **self._where, UploadId=self._upload_id, MultipartUpload={"Parts": self._parts}
            )
        return self._stored(completed["ETag"])

    async def undo(self) -> None:
        """Leave nothing, as far as the store answers at once; the sweep finds the rest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._removal_timeout):
                await self._remove_traces()

    async def _remove_traces(self) -> None:
        if self._upload_id is not None:
            with suppress(FileStoreUnavailable, ObjectNotFound):
                async with _Calls(self._call_timeout):
                    await self._client.abort_multipart_upload(
                        **self._where, UploadId=self._upload_id
                    )
        if self._may_be_there:
            # The store may have taken it, and only its answer was lost.
            with suppress(FileStoreUnavailable, ObjectNotFound):
                async with _Calls(self._call_timeout):
                    await self._client.delete_object(**self._where)

    async def _count(self, part: bytes) -> None:
        # A part takes milliseconds to hash, in which others would wait.
        await asyncio.to_thread(self._digest.update, part)
        self._size += len(part)

    def _stored(self, etag: str) -> StoredFile:
        return StoredFile(self._size, _bare(etag), self._digest.hexdigest())


class _Calls:
    """Gives what is inside of the block a time limit, and its errors our words.

    A class, and no generator, because it is entered for each chunk of a download.
    """

    def __init__(self, seconds: float) -> None:
        self._limit = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the block.

        Raises:
            ObjectNotFound: The store said that there is no such thing.
            FileStoreUnavailable: It said that it can't, or nothing at all.
        """
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise FileStoreUnavailable(reason="no answer in time") from late
        if isinstance(error, ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _NOT_FOUND or code == "NoSuchUpload":
                raise ObjectNotFound(reason=code) from error
            raise FileStoreUnavailable(reason=code) from error
        if isinstance(error, BotoCoreError | aiohttp.ClientError | TimeoutError | OSError):
            raise FileStoreUnavailable(reason=type(error).__name__) from error


def _client_for(settings: StorageSettings, address: str, connections: int) -> Any:  # noqa: ANN401 - the library's own type is not importable
    # Not at the top: as soon as it is imported, the library opens a socket, to try IPv6.
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
            max_pool_connections=connections,
            # Checksums in trailers are what stores other than AWS mostly lack.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _bare(etag: str) -> str:
    return etag.strip('"')
