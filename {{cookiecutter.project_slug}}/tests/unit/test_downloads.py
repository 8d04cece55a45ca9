"""Ranges, versions and names of what is downloaded."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from app.core.storage import ByteRange
from app.infrastructure.http.downloads import (
    RangeNotSatisfiable,
    attachment,
    is_current,
    requested_range,
)
from app.infrastructure.http.middleware import Cors

ETAG = '"0dcb1d82"'
PLAIN = re.compile(
    r'attachment; filename="([^"\\%]*)"(?:; filename\*=UTF-8\'\'([A-Za-z0-9%._~-]*))?'
)


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
    def test_is_all_or_a_part_whatever_is_asked_for(self, header: str) -> None:
        found = requested_range(f"bytes={header}", None, ETAG, 10**9)
        assert found is None or 0 <= found.first <= found.last < 10**9

    @pytest.mark.parametrize("unit", ["bytes", "Bytes", "BYTES"])
    def test_may_be_written_in_capitals(self, unit: str) -> None:
        assert requested_range(f"{unit}=0-0", None, ETAG, 100) == ByteRange(0, 0)

    @pytest.mark.parametrize(
        "header", ["bytes=100-", "bytes=100-200", "bytes=-0", f"bytes={10**23}-"]
    )
    def test_must_have_a_byte(self, header: str) -> None:
        with pytest.raises(RangeNotSatisfiable) as refused:
            requested_range(header, None, ETAG, 100)
        assert refused.value.size == 100

    @pytest.mark.parametrize("header", [None, "", "bytes=", "bytes=3-2", "bytes=0-1,3-4", "0-1"])
    def test_is_all_without_one(self, header: str | None) -> None:
        assert requested_range(header, None, ETAG, 100) is None

    @pytest.mark.parametrize("if_range", [f"W/{ETAG}", '"else"', "Sat, 21 Nov 2026 10:30:00 GMT"])
    def test_is_all_of_another_version(self, if_range: str) -> None:
        assert requested_range("bytes=0-1", if_range, ETAG, 100) is None


class TestIsCurrent:
    @pytest.mark.parametrize("header", [ETAG, f"W/{ETAG}", f'"a", {ETAG}', "*"])
    def test_knows_the_version(self, header: str) -> None:
        assert is_current(header, ETAG)

    @pytest.mark.parametrize("header", [None, "", '"a"', ETAG.strip('"')])
    def test_knows_no_other(self, header: str | None) -> None:
        assert not is_current(header, ETAG)


class TestAttachment:
    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
    def test_is_one_well_formed_header_whatever_the_name(self, name: str) -> None:
        header = attachment(name)

        found = PLAIN.fullmatch(header)
        assert found is not None
        assert header.isascii()
        assert (unquote(found[2]) if found[2] else found[1]) == name


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
