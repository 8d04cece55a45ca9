"""Random secrets, and the hashes under which they are stored (rules SEC04, SEC07)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.security.secrets import digest, new_api_key, new_refresh_token


class TestNewSecrets:
    def test_carry_256_bits_behind_the_prefix_of_their_kind(self) -> None:
        assert re.fullmatch(r"rt_[A-Za-z0-9_-]{43}", new_refresh_token())
        assert re.fullmatch(r"ak_[A-Za-z0-9_-]{43}", new_api_key())

    def test_are_never_the_same(self) -> None:
        secrets = [new_refresh_token() for _ in range(100)] + [new_api_key() for _ in range(100)]
        assert len(set(secrets)) == 200


class TestDigest:
    def test_is_sha_256(self) -> None:
        # The example of FIPS 180-2, appendix B.1.
        assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    @given(st.text(st.characters()))
    def test_takes_whatever_a_client_may_send(self, secret: str) -> None:
        assert re.fullmatch(r"[0-9a-f]{64}", digest(secret))

    @pytest.mark.parametrize("other", ["rt_a", "rt_A ", "rt_A\x00", "rt_Ä"])
    def test_tells_secrets_apart(self, other: str) -> None:
        assert digest("rt_A") != digest(other)
