"""File store in a bucket of S3 or a compatible store."""

import asyncio
import hashlib
import importlib
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

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

P = ParamSpec("P")
T = TypeVar("T")

_CONNECTIONS: Final = 100
_CHUNK_BYTES: Final = 64 * 1024
_NOT_FOUND: Final = frozenset({"404", "NoSuchKey", "NoSuchUpload", "NotFound"})


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that is valid for a while; its URL is a secret, its headers are signed."""

    url: str
    headers: dict[str, str]


@asynccontextmanager
async def open_storage(settings: StorageSettings) -> AsyncIterator["Storage"]:
    """Yield the store, and close it afterwards."""
    async with AsyncExitStack() as stack:
        yield Storage(settings, stack)


class Storage:
    """Objects in one folder of a bucket, under relative paths of letters, digits and `-_./`.

    An object appears whole or not at all. Every method has a time limit and raises
    `FileStoreUnavailable` if the store fails.
    """

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
        """Store or replace an object: in parts, unless it is small.

        A part is collected in a temporary file, as clients may stall. If the store or the iterator
        fails, nothing new is left under the key.
        """
        upload = _Upload(partial(self._send, Key=self._folder + key), media_type)
        size = self._settings.part_size
        with SpooledTemporaryFile(_CHUNK_BYTES) as part:
            try:
                async for chunk in chunks:
                    rest = memoryview(chunk)
                    while rest:
                        room = size - part.tell()
                        await self._in_thread(part.write, rest[:room])
                        rest = rest[room:]
                        if part.tell() == size:
                            await upload.add(await self._in_thread(_take, part))
                return await upload.finish(await self._in_thread(_take, part))
            except BaseException:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.removal_timeout):
                        await upload.undo()
                raise

    @asynccontextmanager
    async def open(
        self, key: str, byte_range: ByteRange | None = None
    ) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Open an object, or a range within it; yield its whole size and its bytes.

        Raises:
            ObjectNotFound: There is no such object.
        """
        request = {"Key": self._folder + key}
        if byte_range is not None:
            request["Range"] = f"bytes={byte_range.first}-{byte_range.last}"
        response = await self._send("get_object", **request)
        body = response["Body"]

        async def read() -> AsyncIterator[bytes]:
            while True:
                async with _call(self._settings.call_timeout):
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
        with suppress(ObjectNotFound):
            await self._send("delete_object", Key=self._folder + key)

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield the objects whose key starts with a prefix, ordered by key."""
        async for page in self._pages("list_objects_v2", prefix, "ContinuationToken"):
            for each in page.get("Contents", ()):
                yield StoredObject(each["Key"].removeprefix(self._folder), each["LastModified"])

    async def abort_unfinished(self, before: datetime) -> int:
        """Abort the multipart uploads that began before a moment; return their number."""
        aborted = 0
        async for page in self._pages("list_multipart_uploads", "", "KeyMarker", "UploadIdMarker"):
            # One at a time: thousands at once would overload the store.
            for each in page.get("Uploads", ()):
                if each["Initiated"] < before:
                    upload = {"Key": each["Key"], "UploadId": each["UploadId"]}
                    with suppress(ObjectNotFound):
                        await self._send("abort_multipart_upload", **upload)
                    aborted += 1
        return aborted

    async def ping(self) -> None:
        """Check that the bucket exists and is accessible."""
        try:
            await self._send("head_bucket")
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

    async def signed_get(self, key: str, *, media_type: str, disposition: str, seconds: int) -> str:
        """Return a signed URL of an object; the response will have these headers.

        Raises:
            FileStoreUnavailable: There are no credentials.
        """
        return await self._signed(
            "get_object",
            seconds,
            Key=self._folder + key,
            ResponseContentType=media_type,
            ResponseContentDisposition=disposition,
        )

    async def _signed(self, operation: str, seconds: int, **parameters: object) -> str:
        client = await self._client(self._settings.public_endpoint_url)
        parameters["Bucket"] = self._bucket
        async with _call(self._settings.call_timeout):
            return await client.generate_presigned_url(
                operation, Params=parameters, ExpiresIn=seconds
            )

    async def _pages(
        self, operation: str, prefix: str, *markers: str
    ) -> AsyncIterator[dict[str, Any]]:
        request = {"Prefix": self._folder + prefix}
        while True:
            try:
                page = await self._send(operation, **request)
            except ObjectNotFound:
                return  # some stores' empty list
            yield page
            if not page.get("IsTruncated"):
                return
            request.update({name: page[f"Next{name}"] for name in markers})

    async def _send(self, operation: str, **request: object) -> Any:  # noqa: ANN401 - by operation
        """Call an operation on the bucket."""
        call = getattr(await self._client(), operation)
        async with _call(self._settings.call_timeout):
            return await call(Bucket=self._bucket, **request)

    async def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that uses the disk."""
        async with _call(self._settings.call_timeout):
            return await asyncio.to_thread(call, *args, **kwargs)

    async def _client(self, address: str | None = None) -> "S3Client":
        address = address or self._settings.endpoint_url
        async with self._opening:
            if address not in self._clients:
                # Imported in a thread: it blocks for a second. Readiness probes come first.
                await asyncio.to_thread(importlib.import_module, "aioboto3")
                client = _create_client(self._settings, address)
                self._clients[address] = await self._stack.enter_async_context(client)
        return self._clients[address]


class _Upload:
    """An object that is being uploaded."""

    def __init__(self, send: Callable[..., Awaitable[Any]], media_type: str) -> None:
        self._send = send
        self._media_type = media_type
        self._digest = hashlib.sha256()
        self._size = 0
        self._upload_id: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._may_exist = False

    async def add(self, part: bytes) -> None:
        """Send a part. All but the last have the same size."""
        if self._upload_id is None:
            created = await self._send("create_multipart_upload", ContentType=self._media_type)
            self._upload_id = created["UploadId"]
        await self._count(part)
        number = len(self._parts) + 1
        sent = await self._send(
            "upload_part", UploadId=self._upload_id, PartNumber=number, Body=part
        )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    async def finish(self, rest: bytes) -> StoredFile:
        """Send the rest, and complete the object."""
        if self._upload_id is None:
            await self._count(rest)
            self._may_exist = True
            await self._send("put_object", ContentType=self._media_type, Body=rest)
        else:
            if rest:
                await self.add(rest)
            self._may_exist = True
            parts = {"Parts": self._parts}
            await self._send(
                "complete_multipart_upload", UploadId=self._upload_id, MultipartUpload=parts
            )
        return StoredFile(self._size, self._digest.hexdigest())

    async def undo(self) -> None:
        """Delete all traces; `app prune` deletes those that remain."""
        if self._upload_id is not None:
            with suppress(FileStoreUnavailable, ObjectNotFound):
                await self._send("abort_multipart_upload", UploadId=self._upload_id)
        if self._may_exist:
            # The store may have created it, and only the response was lost.
            with suppress(FileStoreUnavailable, ObjectNotFound):
                await self._send("delete_object")

    async def _count(self, part: bytes) -> None:
        # In a thread: hashing a part takes milliseconds.
        await asyncio.to_thread(self._digest.update, part)
        self._size += len(part)


def _take(file: IO[bytes]) -> bytes:
    """Empty a file, and return its content."""
    file.seek(0)
    content = file.read()
    file.seek(0)
    file.truncate()
    return content


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
        if limit.expired():
            raise FileStoreUnavailable(reason="no answer in time") from error
        raise FileStoreUnavailable.due_to(error) from error


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
