"""One file out of a multipart body, however the body is cut into messages."""

from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from app.core.errors import DomainError, InvalidInput, UnsupportedContent
from app.infrastructure.http.multipart import UploadedPart, uploaded_part
from tests.support.files import END, MULTIPART, TEXT, part


def request(body: bytes, pieces: int = 1, content_type: str | None = None) -> Request:
    """A request whose body comes in messages of a size."""
    size = max(1, len(body) // pieces)
    messages: Iterator[Message] = iter(
        [
            {"type": "http.request", "body": body[start : start + size], "more_body": True}
            for start in range(0, len(body), size)
        ]
        + [{"type": "http.request", "body": b"", "more_body": False}]
    )

    async def receive() -> Message:
        return next(messages)

    kind = MULTIPART["Content-Type"] if content_type is None else content_type
    headers = [(b"content-type", kind.encode())]
    return Request({"type": "http", "headers": headers}, receive)


async def content(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


class TestUploadedPart:
    @given(st.binary(max_size=300), st.integers(1, 400))
    async def test_is_the_same_however_it_is_cut(self, data: bytes, pieces: int) -> None:
        found = await uploaded_part(request(part(name="a.bin") + data + END, pieces))

        assert (found.name, found.media_type) == ("a.bin", "text/plain")
        assert await content(found.chunks) == data

    async def test_need_not_say_what_it_is(self) -> None:
        body = part().replace(b"Content-Type: text/plain\r\n", b"") + TEXT + END
        found: UploadedPart = await uploaded_part(request(body))
        assert found.media_type is None

    @pytest.mark.parametrize("pieces", [1, 7, 1000])
    async def test_must_be_the_only_one(self, pieces: int) -> None:
        body = part() + TEXT + b"\r\n" + part() + TEXT + END
        found = await uploaded_part(request(body, pieces))
        with pytest.raises(InvalidInput):
            await content(found.chunks)

    @pytest.mark.parametrize("pieces", [1, 7, 1000])
    async def test_must_have_an_end(self, pieces: int) -> None:
        found = await uploaded_part(request(part() + TEXT, pieces))
        with pytest.raises(HTTPException) as refused:
            await content(found.chunks)
        assert refused.value.status_code == 400

    @pytest.mark.parametrize(
        "content_type",
        [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            f"multipart/form-data; boundary={'x' * 999}",
        ],
    )
    async def test_needs_a_boundary(self, content_type: str) -> None:
        with pytest.raises(HTTPException) as refused:
            await uploaded_part(request(part() + END, content_type=content_type))
        assert refused.value.status_code == 400

    @pytest.mark.parametrize(
        "content_type", ["", "application/json", "multipart/mixed; boundary=a"]
    )
    async def test_needs_a_form(self, content_type: str) -> None:
        with pytest.raises(UnsupportedContent):
            await uploaded_part(request(b"", content_type=content_type))

    @given(st.binary(max_size=300))
    async def test_is_refused_in_our_words_whatever_the_body(self, body: bytes) -> None:
        try:
            found = await uploaded_part(request(body, 3))
            await content(found.chunks)
        except (DomainError, HTTPException):
            return
        assert body.startswith(b"--")
