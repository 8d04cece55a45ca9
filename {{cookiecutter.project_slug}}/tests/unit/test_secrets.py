"""Random secrets, and the hashes that are stored (rules SEC04, SEC07)."""

import re

from hypothesis import given
from hypothesis import strategies as st

from app.core.security.secrets import digest, new_api_key, new_refresh_token


def test_secrets_have_a_prefix_and_256_random_bits() -> None:
    for prefix, new in (("rt_", new_refresh_token), ("ak_", new_api_key)):
        made = {new() for _ in range(100)}
        assert len(made) == 100
        assert all(re.fullmatch(prefix + r"[A-Za-z0-9_-]{43}", secret) for secret in made)


def test_digest_is_sha_256() -> None:
    # The example of FIPS 180-2, appendix B.1.
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(st.text(st.characters()))
def test_digest_accepts_any_text(secret: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", digest(secret))
