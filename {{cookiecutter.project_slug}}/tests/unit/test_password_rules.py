"""What a password must look like (rule SCH07)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.security.passwords import normalized_password, password_faults

LENGTH = "8 to 128 characters"
UPPER = "an upper-case letter"
LOWER = "a lower-case letter"
DIGIT = "a digit"

any_text = st.text(max_size=40)


@st.composite
def good_passwords(draw: st.DrawFn) -> str:
    """Some of each kind, and anything else, in any order."""
    needed = [
        draw(st.characters(categories=["Lu"])),
        draw(st.characters(categories=["Ll"])),
        draw(st.characters(categories=["Nd"])),
    ]
    rest = draw(st.lists(st.characters(), min_size=5, max_size=125))
    return "".join(draw(st.permutations(needed + rest)))


class TestPasswordFaults:
    @given(good_passwords().filter(lambda text: 8 <= len(normalized_password(text)) <= 128))
    def test_finds_nothing_in_a_good_one(self, password: str) -> None:
        assert password_faults(password) == []

    @given(any_text)
    def test_asks_for_each_kind_that_is_missing(self, password: str) -> None:
        faults = password_faults(password)
        password = normalized_password(password)
        assert (LENGTH in faults) == (not 8 <= len(password) <= 128)
        assert (UPPER in faults) == (not any(map(str.isupper, password)))
        assert (LOWER in faults) == (not any(map(str.islower, password)))
        assert (DIGIT in faults) == (not any(map(str.isdigit, password)))

    @pytest.mark.parametrize(
        ("password", "faults"),
        [
            ("", [LENGTH, UPPER, LOWER, DIGIT]),
            ("Abcdef1", [LENGTH]),
            ("Abcdef12", []),
            ("A1" + "b" * 126, []),
            ("A1" + "b" * 127, [LENGTH]),
            ("abcdefg1", [UPPER]),
            ("ABCDEFG1", [LOWER]),
            ("Abcdefgh", [DIGIT]),
            ("correct horse battery staple", [UPPER, DIGIT]),
            ("Größe 12", []),
            ("A1" + "e\u0301" * 3, [LENGTH]),
            ("パスワードです1", [UPPER, LOWER]),
        ],
    )
    def test_counts_characters_and_names_what_is_missing(
        self, password: str, faults: list[str]
    ) -> None:
        assert password_faults(password) == faults
