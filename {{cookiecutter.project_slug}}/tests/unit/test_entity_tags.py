"""Entity tags of versions (RFC 9110 §8.8.3 and §13.1)."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.infrastructure.http.routes import Preconditions, names_tag, tag_of

versions = st.integers(min_value=1, max_value=2**31 - 1)
gaps = st.sampled_from([",", ", ", " ,", "\t,\t", " , "])


class TestTag:
    @given(one=versions, other=versions)
    def test_is_quoted_and_differs_between_versions(self, one: int, other: int) -> None:
        assume(one != other)

        assert tag_of(one) == f'"{one}"'
        assert tag_of(one) != tag_of(other)


class TestIfNoneMatch:
    @given(version=versions, listed=st.lists(versions, max_size=5), gap=gaps)
    def test_names_a_tag_of_its_list_weak_or_not(
        self, version: int, listed: list[int], gap: str
    ) -> None:
        strong = gap.join(map(tag_of, listed))
        weak = gap.join(f"W/{tag_of(each)}" for each in listed)

        assert names_tag(strong, tag_of(version), weak=True) is (version in listed)
        assert names_tag(weak, tag_of(version), weak=True) is (version in listed)
        assert not names_tag(weak, tag_of(version))
        assert names_tag("*", tag_of(version), weak=True)

    @given(header=st.text(), version=versions)
    def test_needs_the_whole_tag(self, header: str, version: int) -> None:
        assume("*" not in header)
        assume(tag_of(version) not in header)

        assert not names_tag(header, tag_of(version), weak=True)


class TestIfMatch:
    @given(version=versions, listed=st.lists(versions, max_size=5), gap=gaps)
    def test_lists_versions(self, version: int, listed: list[int], gap: str) -> None:
        allowed = Preconditions(gap.join(map(tag_of, listed)))

        assert (version in allowed) is (version in listed)

    def test_matches_any_version_by_an_asterisk_alone(self) -> None:
        assert 1 in Preconditions("*")
        assert 1 in Preconditions('"1", *')
        assert 2 not in Preconditions('"1", *')
        assert 1 not in Preconditions("*, *")
        assert not names_tag('*, "2"', '"1"', weak=True)

    @pytest.mark.parametrize("header", ["", "1", 'W/"1"', '"01"', '"a"', '"1', '"-1"', '"\u0661"'])
    def test_leaves_out_everything_else(self, header: str) -> None:
        assert 1 not in Preconditions(header)

    def test_must_hold_together_with_if_none_match(self) -> None:
        allowed = Preconditions('"1", "2"', 'W/"2", "3"')

        assert [version in allowed for version in range(1, 5)] == [True, False, False, False]
