"""Names, keys, multipart bodies, and downloads of files."""

import re
import unicodedata
from collections.abc import AsyncIterator, Iterator
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Message

from app.core.errors import DomainError, InvalidInput, UnsupportedContent
from app.core.ids import new_id
from app.core.storage import ByteRange
from app.domain.files import (
    LONGEST_NAME,
    ContentId,
    FileId,
    id_in,
    incoming_key,
    safe_name,
    stored_key,
)
from app.domain.users import UserId
from app.infrastructure.http.downloads import (
    RangeNotSatisfiable,
    attachment,
    is_current,
    requested_range,
)
from app.infrastructure.http.middleware import Cors
from app.infrastructure.http.multipart import uploaded_part
from tests.support.files import END, MULTIPART, TEXT, part

ETAG = '"0dcb1d82"'
PLAIN = re.compile(
    r'attachment; filename="([^"\\%]*)"(?:; filename\*=UTF-8\'\'([A-Za-z0-9%._~-]*))?'
)


class TestSafeName:
    @given(st.text())
    def test_is_always_a_plain_name(self, name: str) -> None:
        safe = safe_name(name)

        assert 0 < len(safe) <= LONGEST_NAME
        assert not set(safe) & set("/\\\x00\r\n")
        assert safe not in {".", ".."}
        assert not [each for each in safe if unicodedata.category(each).startswith("C")]
        assert safe_name(safe) == safe

    @pytest.mark.parametrize(
        ("name", "safe"),
        [
            ("../../etc/passwd", "passwd"),
            ("C:\\temp\\a.txt", "a.txt"),
            ("..", "unnamed"),
            ("a\u202efdp.exe", "afdp.exe"),
            ("größe ✓.txt", "größe ✓.txt"),
            (".profile", "profile"),
            ("x" * 300 + ".pdf", "x" * 196 + ".pdf"),
            ("x" * 300, "x" * 200),
            ("x." + "y" * 300, "x." + "y" * 198),
            ("a  b\t.txt", "a b.txt"),
            ("e\u0301.txt", "é.txt"),
        ],
    )
    def test_drops_unsafe_characters_and_keeps_the_ending(self, name: str, safe: str) -> None:
        assert safe_name(name) == safe


class TestKeys:
    def test_contain_the_id(self) -> None:
        owner_id, file_id, content_id = UserId(new_id()), FileId(new_id()), ContentId(new_id())
        stored, incoming = (
            stored_key(owner_id, file_id, content_id),
            incoming_key(owner_id, file_id),
        )
        assert stored == f"files/{owner_id}/{file_id}.{content_id}"
        assert id_in(stored) == id_in(incoming) == file_id
        for key in ("files/", "files/a", "exports/report.csv", ""):
            assert id_in(key) is None


class TestRequestedRange:
    @given(st.integers(0, 99), st.integers(0, 200))
    def test_lies_within_the_content(self, first: int, length: int) -> None:
        found = requested_range(f"bytes={first}-{first + length}", None, ETAG, 100)
        assert found == ByteRange(first, min(first + length, 99))
        assert found is not None
        assert found.size == min(length + 1, 100 - first)

    @given(st.integers(1, 200))
    def test_counts_from_the_end(self, length: int) -> None:
        found = requested_range(f"bytes=-{length}", None, ETAG, 100)
        assert found == ByteRange(max(0, 100 - length), 99)

    @given(st.text(max_size=40))
    def test_is_valid_for_any_header(self, header: str) -> None:
        found = requested_range(f"bytes={header}", None, ETAG, 10**9)
        assert found is None or 0 <= found.first <= found.last < 10**9

    @pytest.mark.parametrize(
        ("header", "first", "last"),
        [("BYTES=0-0", 0, 0), ("Bytes=5-", 5, 99), ("bytes= 9-9", 9, 9)],
    )
    def test_may_be_written_in_other_forms(self, header: str, first: int, last: int) -> None:
        assert requested_range(header, ETAG, ETAG, 100) == ByteRange(first, last)

    @pytest.mark.parametrize(
        "header", ["bytes=100-", "bytes=100-200", "bytes=-0", f"bytes={10**23}-"]
    )
    def test_is_refused_behind_the_end(self, header: str) -> None:
        with pytest.raises(RangeNotSatisfiable) as refused:
            requested_range(header, None, ETAG, 100)
        assert refused.value.size == 100

    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "bytes=",
            "bytes=-",
            "bytes=3-2",
            "bytes=0-1,3-4",
            "0-1",
            "bytes=٣-٤",
            "x" * 900,
        ],
    )
    def test_is_ignored_unless_it_is_a_single_range(self, header: str | None) -> None:
        assert requested_range(header, None, ETAG, 100) is None

    @pytest.mark.parametrize("if_range", [f"W/{ETAG}", '"else"', "Sat, 21 Nov 2026 10:30:00 GMT"])
    def test_is_ignored_for_another_version(self, if_range: str) -> None:
        assert requested_range("bytes=0-1", if_range, ETAG, 100) is None


class TestIsCurrent:
    def test_compares_entity_tags(self) -> None:
        for header in (ETAG, f"W/{ETAG}", f'"a", {ETAG}', "*"):
            assert is_current(header, ETAG)
        for other in (None, "", '"a"', ETAG.strip('"')):
            assert not is_current(other, ETAG)


class TestAttachment:
    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
    def test_is_one_well_formed_header(self, name: str) -> None:
        header = attachment(name)

        found = PLAIN.fullmatch(header)
        assert found is not None
        assert header.isascii()
        assert (unquote(found[2]) if found[2] else found[1]) == name

    def test_escapes_quotes_percent_signs_and_line_breaks(self) -> None:
        assert attachment("note.txt") == 'attachment; filename="note.txt"'
        for name, plain, escaped in (
            ('a"b.txt', "a_b.txt", "a%22b.txt"),
            ("50%41.txt", "50_41.txt", "50%2541.txt"),
            ("a\r\nX-Evil: 1", "a__X-Evil_ 1", "a%0D%0AX-Evil%3A%201"),
        ):
            assert (
                attachment(name) == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{escaped}"
            )


class TestPagesOfOtherOrigins:
    def test_may_resume_a_download_under_its_name(self) -> None:
        page = {"Origin": "https://app.example.com"}
        asked = {
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "range, if-range",
        }
        client = TestClient(Cors(PlainTextResponse(), page.values(), allow_credentials=False))

        preflight = client.options("/", headers=page | asked)
        exposed = client.get("/", headers=page).headers["access-control-expose-headers"]

        assert preflight.status_code == 200
        assert {"Accept-Ranges", "Content-Disposition", "Content-Range"} <= {*exposed.split(", ")}


def request(body: bytes, pieces: int = 1, content_type: str | None = None) -> Request:
    """A request whose body arrives in pieces."""
    size = max(1, len(body) // pieces)
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        + [{"type": "http.request", "body": b"", "more_body": False}]
    )

    async def receive() -> Message:
        return next(messages)

    kind = MULTIPART["Content-Type"] if content_type is None else content_type
    return Request({"type": "http", "headers": [(b"content-type", kind.encode())]}, receive)


async def content(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


class TestUploadedPart:
    @given(st.binary(max_size=300), st.integers(1, 400))
    async def test_is_the_same_in_any_pieces(self, data: bytes, pieces: int) -> None:
        found = await uploaded_part(request(part(name="a.bin") + data + END, pieces))

        assert (found.name, found.media_type) == ("a.bin", "text/plain")
        assert await content(found.chunks) == data

    async def test_may_have_no_type(self) -> None:
        body = part().replace(b"Content-Type: text/plain\r\n", b"") + TEXT + END
        assert (await uploaded_part(request(body))).media_type is None

    @pytest.mark.parametrize("pieces", [1, 7, 1000])
    async def test_is_the_only_one_and_has_an_end(self, pieces: int) -> None:
        two = await uploaded_part(request(part() + TEXT + b"\r\n" + part() + TEXT + END, pieces))
        with pytest.raises(InvalidInput):
            await content(two.chunks)
        endless = await uploaded_part(request(part() + TEXT, pieces))
        with pytest.raises(HTTPException) as refused:
            await content(endless.chunks)
        assert refused.value.status_code == 400

    @pytest.mark.parametrize("boundary", ["", "; boundary=", f"; boundary={'x' * 999}"])
    async def test_needs_a_boundary(self, boundary: str) -> None:
        body = request(part() + END, content_type=f"multipart/form-data{boundary}")
        with pytest.raises(HTTPException) as refused:
            await uploaded_part(body)
        assert refused.value.status_code == 400

    @pytest.mark.parametrize(
        "content_type", ["", "application/json", "multipart/mixed; boundary=a"]
    )
    async def test_needs_a_form(self, content_type: str) -> None:
        with pytest.raises(UnsupportedContent):
            await uploaded_part(request(b"", content_type=content_type))

    @given(st.binary(max_size=300))
    async def test_raises_only_our_errors(self, body: bytes) -> None:
        try:
            found = await uploaded_part(request(body, 3))
            await content(found.chunks)
        except (DomainError, HTTPException):
            return
        assert body.startswith(b"--")
