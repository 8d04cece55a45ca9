"""Cursors: opaque to clients, and nothing that comes back is believed."""

import json
import re
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.core.pages import MAX_CURSOR_LENGTH, Cursor, SortKey

ID = UUID("01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10")
SORT = "-created_at"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

moments = st.datetimes(timezones=st.just(UTC))
titles = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=254)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=5) | st.dictionaries(st.text(), values, max_size=5),
)


class TestRoundTrip:
    @given(key=moments | titles, cursor_id=st.uuids(), sort=st.sampled_from(["title", SORT]))
    def test_gives_the_position_back(self, key: SortKey, cursor_id: UUID, sort: str) -> None:
        cursor = Cursor(sort, key, cursor_id)

        assert Cursor.decode(cursor.encode(), sort=sort, kind=type(key)) == cursor

    @given(title=titles)
    @example("\U0001f389" * 254)
    @example("\\" * 254)
    @example('"' * 254)
    def test_fits_into_a_query(self, title: str) -> None:
        text = Cursor("-username", title, ID).encode()

        assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
        assert len(text) <= MAX_CURSOR_LENGTH

    def test_keeps_microseconds(self) -> None:
        moment = NOON.replace(microsecond=1)

        assert decoded(Cursor(SORT, moment, ID).encode()).key == moment


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
    @example([SORT, "t", "2026-11-21T12:00:00", ID.hex])
    @example([SORT, "t", "0001-01-01T00:00:00+23:59", ID.hex])
    @example([SORT, "t", "9999-12-31T23:59:59-23:59", ID.hex])
    @example([SORT, "t", "noon", ID.hex])
    @example([SORT, "t", 1795262400, ID.hex])
    @example([SORT, "t", None, ID.hex])
    @example([SORT, "x", NOON.isoformat(), ID.hex])
    @example([SORT, None, NOON.isoformat(), ID.hex])
    @example([SORT, "s", "a\x00b", ID.hex])
    @example([SORT, "s", "\ud800", ID.hex])
    @example([SORT, "t", NOON.isoformat(), "no id"])
    @example([SORT, "t", NOON.isoformat(), None])
    @example([SORT, "t", NOON.isoformat(), 7])
    @example([SORT, "t", NOON.isoformat()])
    @example([SORT, "t", NOON.isoformat(), ID.hex, "more"])
    @example([[SORT], "t", NOON.isoformat(), ID.hex])
    @example({"sort": SORT, "kind": "t", "key": NOON.isoformat(), "id": ID.hex})
    @example("four")
    def test_of_any_value_is_a_proper_one(self, value: object) -> None:
        with pytest.raises(InvalidInput):
            decoded(encoded(json.dumps(value)))

    @pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "NaN", "{", "[1,2,3,"])
    def test_of_what_a_parser_can_choke_on_is_a_proper_one(self, text: str) -> None:
        with pytest.raises(InvalidInput):
            decoded(encoded(text))

    def test_says_that_it_is_about_the_cursor(self) -> None:
        with pytest.raises(InvalidInput) as refused:
            decoded("garbage")

        (error,) = refused.value.errors
        assert (error.field, error.code) == ("query.cursor", "invalid_cursor")
        assert "garbage" not in error.message

    def test_includes_the_cursor_of_another_order(self) -> None:
        with pytest.raises(InvalidInput, match="another sort order"):
            decoded(Cursor("created_at", NOON, ID).encode())

    def test_includes_a_key_of_another_type(self) -> None:
        with pytest.raises(InvalidInput, match="another sort order"):
            decoded(Cursor(SORT, "a title", ID).encode())


class TestMoments:
    def test_are_read_in_utc(self) -> None:
        there = NOON.astimezone(timezone(timedelta(hours=5)))

        key = decoded(Cursor(SORT, there, ID).encode()).key

        assert isinstance(key, datetime)
        assert key == NOON
        assert key.tzinfo is UTC


def encoded(text: str) -> str:
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decoded(text: str) -> Cursor:
    return Cursor.decode(text, sort=SORT, kind=datetime)
