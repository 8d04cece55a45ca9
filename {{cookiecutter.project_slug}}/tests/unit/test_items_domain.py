"""Versions of items, as HTTP names them (RFC 9110 §8.8.3 and §13.1)."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.core.errors import PreconditionFailed
from app.domain.items import etag, etag_matches, require_match

versions = st.integers(min_value=1, max_value=2**31 - 1)
others = st.lists(versions.map(etag), max_size=5)
gaps = st.sampled_from([",", ", ", " ,", "\t,\t", " , "])


class TestEtag:
    @given(version=versions)
    def test_is_a_strong_tag_in_quotes(self, version: int) -> None:
        assert etag(version) == f'"{version}"'

    @given(one=versions, other=versions)
    def test_differs_between_versions(self, one: int, other: int) -> None:
        assume(one != other)

        assert etag(one) != etag(other)


class TestEtagMatches:
    @given(version=versions, before=others, after=others, gap=gaps)
    def test_finds_the_version_anywhere_in_a_list(
        self, version: int, before: list[str], after: list[str], gap: str
    ) -> None:
        header = gap.join([*before, etag(version), *after])

        assert etag_matches(header, version)
        assert etag_matches(header, version, weak=True)

    @given(version=versions, listed=others, gap=gaps)
    def test_does_not_find_it_in_a_list_of_others(
        self, version: int, listed: list[str], gap: str
    ) -> None:
        assume(etag(version) not in listed)

        assert not etag_matches(gap.join(listed), version)
        assert not etag_matches(gap.join(f"W/{tag}" for tag in listed), version, weak=True)

    @given(version=versions)
    def test_takes_any_version_for_an_asterisk(self, version: int) -> None:
        assert etag_matches("*", version)
        assert etag_matches("*", version, weak=True)

    @given(version=versions, before=others)
    def test_takes_a_weak_tag_only_where_that_will_do(
        self, version: int, before: list[str]
    ) -> None:
        assume(etag(version) not in before)
        header = ", ".join([*before, f"W/{etag(version)}"])

        assert not etag_matches(header, version)
        assert etag_matches(header, version, weak=True)

    @given(header=st.text(), version=versions)
    def test_needs_the_whole_tag(self, header: str, version: int) -> None:
        assume("*" not in header)
        assume(f'"{version}"' not in header)

        assert not etag_matches(header, version)
        assert not etag_matches(header, version, weak=True)


class TestRequireMatch:
    def test_passes_without_a_header(self) -> None:
        require_match(None, 1)

    @pytest.mark.parametrize("header", ['"1"', "*", '"7", "1"'])
    def test_passes_when_the_version_is_named(self, header: str) -> None:
        require_match(header, 1)

    @pytest.mark.parametrize("header", ['"2"', 'W/"1"', "", "1"])
    def test_refuses_otherwise(self, header: str) -> None:
        with pytest.raises(PreconditionFailed):
            require_match(header, 1)
