"""Cursors are opaque to clients and validated on return."""

import json
import re
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.core.pages import MAX_CURSOR_LENGTH
from app.infrastructure.database.repository import SortKey, decode_cursor, encode_cursor

ID = UUID("01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10")
SORT = "-created_at"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

moments = st.datetimes(timezones=st.just(UTC))
titles = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=254)
numbers = st.integers(-(2**63), 2**63 - 1) | st.decimals(-(10**30), 10**30, places=2)
keys = moments | st.dates() | numbers | titles
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=5) | st.dictionaries(st.text(), values, max_size=5),
)


class TestRoundTrip:
    @given(
        key=keys,
        cursor_id=st.uuids(),
        sort=st.sampled_from(["title", SORT]),
    )
    @example(NOON.replace(microsecond=1), ID, SORT)
    def test_returns_the_position(self, key: SortKey, cursor_id: UUID, sort: str) -> None:
        cursor = encode_cursor(sort, key, cursor_id)

        assert decode_cursor(cursor, sort, type(key)) == (key, cursor_id)

    @given(title=titles)
    @example("\U0001f389" * 254)
    @example("\\" * 254)
    @example('"' * 254)
    def test_fits_into_a_query(self, title: str) -> None:
        text = encode_cursor("-username", title, ID)

        assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
        assert len(text) <= MAX_CURSOR_LENGTH

    def test_reads_moments_in_utc(self) -> None:
        there = NOON.astimezone(timezone(timedelta(hours=5)))

        key, _ = decoded(encode_cursor(SORT, there, ID))

        assert isinstance(key, datetime)
        assert key == NOON
        assert key.tzinfo is UTC


class TestRefusal:
    @given(text=st.text() | st.binary().map(lambda raw: urlsafe_b64encode(raw).decode()))
    @example("")
    @example("=")
    @example("A")
    @example("é")
    @example("\x00")
    @example("\ud800")
    def test_of_any_garbage_is_a_proper_one(self, text: str) -> None:
        with pytest.raises(InvalidInput):
            decoded(text)

    @given(value=json_values)
    @example([SORT, "2026-11-21T12:00:00", ID.hex])
    @example([SORT, "0001-01-01T00:00:00+23:59", ID.hex])
    @example([SORT, "9999-12-31T23:59:59-23:59", ID.hex])
    @example([SORT, "noon", ID.hex])
    @example([SORT, 1795262400, ID.hex])
    @example([SORT, None, ID.hex])
    @example([SORT, NOON.isoformat(), "no id"])
    @example([SORT, NOON.isoformat(), None])
    @example([SORT, NOON.isoformat(), 7])
    @example([SORT, NOON.isoformat()])
    @example([SORT, NOON.isoformat(), ID.hex, "more"])
    @example([[SORT], NOON.isoformat(), ID.hex])
    @example({"sort": SORT, "key": NOON.isoformat(), "id": ID.hex})
    @example("four")
    def test_of_any_value_is_a_proper_one(self, value: object) -> None:
        with pytest.raises(InvalidInput):
            decoded(encoded(json.dumps(value)))

    @pytest.mark.parametrize("key", ["a\x00b", "\ud800"])
    def test_of_text_that_no_database_stores_is_a_proper_one(self, key: str) -> None:
        with pytest.raises(InvalidInput):
            decode_cursor(encoded(json.dumps(["title", key, ID.hex])), "title", str)

    @pytest.mark.parametrize("kind", [int, Decimal])
    @pytest.mark.parametrize("key", ["1" * 1000, "1e999", "NaN", "true", '"x"', "null"])
    def test_of_a_number_that_no_database_stores_is_a_proper_one(
        self, kind: type[SortKey], key: str
    ) -> None:
        with pytest.raises(InvalidInput):
            decode_cursor(encoded(f'["title", {key}, "{ID}"]'), "title", kind)

    @pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "NaN", "{", "[1,2,3,"])
    def test_of_hard_json_is_a_proper_one(self, text: str) -> None:
        with pytest.raises(InvalidInput):
            decoded(encoded(text))

    @pytest.mark.parametrize("junk", ["=", "!", "\n"])
    def test_includes_lenient_encodings(self, junk: str) -> None:
        with pytest.raises(InvalidInput):
            decoded(encode_cursor(SORT, NOON, ID) + junk)

    def test_says_that_it_is_about_the_cursor(self) -> None:
        with pytest.raises(InvalidInput) as refused:
            decoded("garbage")

        (error,) = refused.value.errors
        assert (error.field, error.code) == ("query.cursor", "invalid_cursor")
        assert "garbage" not in error.message

    def test_includes_another_order_and_a_key_of_another_type(self) -> None:
        with pytest.raises(InvalidInput, match="another sort order"):
            decoded(encode_cursor("created_at", NOON, ID))
        with pytest.raises(InvalidInput):
            decoded(encode_cursor(SORT, "a title", ID))


def encoded(text: str) -> str:
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decoded(text: str) -> tuple[SortKey, UUID]:
    return decode_cursor(text, SORT, datetime)
