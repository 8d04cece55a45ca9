"""The floor of files: between FastAPI and aioboto3, and nothing else.

Checks the token as the floor does. The body is the file itself: no multipart, hash, row or quota.
Same part size and client options as the service.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import aioboto3
from aiobotocore.config import AioConfig
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from uuid_utils.compat import uuid7

from benchmarks.apps import floor

BUCKET = os.environ["APP_STORAGE__BUCKET"]
PART = int(os.environ["APP_STORAGE__PART_SIZE"])
CHUNK = 64 * 1024


class Stored(BaseModel):
    """A file."""

    id: UUID
    size: int


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the floor's pool and the client of the store."""
    client = aioboto3.Session().client(
        "s3",
        endpoint_url=os.environ["APP_STORAGE__ENDPOINT_URL"],
        region_name=os.environ["APP_STORAGE__REGION"],
        aws_access_key_id=os.environ["APP_STORAGE__ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["APP_STORAGE__SECRET_ACCESS_KEY"],
        config=AioConfig(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    async with floor.lifespan(floor.app), client as app.state.store:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/api/v1/files", status_code=201)
async def upload_file(user: floor.CurrentUser, request: Request) -> Stored:
    """Forward the body, a part at a time."""
    del user
    file_id, size, buffer = uuid7(), 0, bytearray()
    etags: list[dict[str, object]] = []
    where = {"Bucket": BUCKET, "Key": str(file_id)}
    begun = await app.state.store.create_multipart_upload(**where)
    where["UploadId"] = begun["UploadId"]

    async def send(part: bytes) -> None:
        number = len(etags) + 1
        sent = await app.state.store.upload_part(**where, PartNumber=number, Body=part)
        etags.append({"PartNumber": number, "ETag": sent["ETag"]})

    async for chunk in request.stream():
        buffer += chunk
        size += len(chunk)
        if len(buffer) >= PART:
            await send(bytes(memoryview(buffer)[:PART]))
            del buffer[:PART]
    if buffer:
        await send(bytes(buffer))
    await app.state.store.complete_multipart_upload(**where, MultipartUpload={"Parts": etags})
    return Stored(id=file_id, size=size)


@app.get("/api/v1/files/{file_id}/content")
async def download_file(user: floor.CurrentUser, file_id: UUID) -> StreamingResponse:
    """Forward the object."""
    del user
    found = await app.state.store.get_object(Bucket=BUCKET, Key=str(file_id))
    headers = {"Content-Length": str(found["ContentLength"])}
    chunks = found["Body"].iter_chunks(CHUNK)
    return StreamingResponse(chunks, media_type="text/plain", headers=headers)


@app.delete("/api/v1/files/{file_id}", status_code=204)
async def delete_file(user: floor.CurrentUser, file_id: UUID) -> None:
    """Delete a file."""
    del user
    await app.state.store.delete_object(Bucket=BUCKET, Key=str(file_id))
