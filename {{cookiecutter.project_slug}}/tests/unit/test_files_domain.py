"""Names and keys of files."""

import unicodedata
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import new_id
from app.domain.files import (
    LONGEST_NAME,
    ContentId,
    FileId,
    id_in,
    incoming_key,
    safe_name,
    stored_key,
)


class TestSafeName:
    @given(st.text())
    def test_is_always_a_name_and_nothing_else(self, name: str) -> None:
        safe = safe_name(name)

        assert 0 < len(safe) <= LONGEST_NAME
        assert not set(safe) & set("/\\\x00\r\n")
        assert safe not in {".", ".."}
        assert not [each for each in safe if unicodedata.category(each).startswith("C")]

    @given(st.text())
    def test_stays_as_it_is_from_then_on(self, name: str) -> None:
        assert safe_name(safe_name(name)) == safe_name(name)

    @pytest.mark.parametrize(
        ("name", "safe"),
        [
            ("x" * 300 + ".pdf", "x" * 196 + ".pdf"),
            ("x" * 300, "x" * 200),
            ("x." + "y" * 300, "x." + "y" * 198),
            ("a  b\t.txt", "a b.txt"),
            ("e\u0301.txt", "é.txt"),
        ],
    )
    def test_is_shortened_with_care(self, name: str, safe: str) -> None:
        assert safe_name(name) == safe


class TestKeys:
    def test_tell_whose_they_are(self) -> None:
        file_id, content_id = FileId(new_id()), ContentId(new_id())
        assert id_in(stored_key(file_id, content_id)) == id_in(incoming_key(file_id)) == file_id

    @pytest.mark.parametrize("key", ["files/", "files/a", "exports/items.csv", ""])
    def test_of_others_tell_nothing(self, key: str) -> None:
        assert id_in(key) is None

    def test_are_made_of_ids_alone(self) -> None:
        file_id = FileId(UUID("01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10"))
        content_id = ContentId(UUID("01976d5e-9a11-7cc3-98c1-5f2b6a1d9e10"))
        assert stored_key(file_id, content_id) == f"files/{file_id}.{content_id}"
