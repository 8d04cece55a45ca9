"""Access tokens (rules SEC01, SEC02, SEC14)."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.config import AuthSettings
from app.core.errors import InsufficientUserAuthentication, InvalidToken
from app.core.ids import new_id
from app.core.security.keys import SigningKeys
from app.core.security.tokens import AccessTokens
from app.domain.auth import SessionId
from app.domain.users import UserId

SETTINGS = AuthSettings(issuer="issuer", audience="audience")
KEYS = SigningKeys.generate()
PUBLIC_PEM = KEYS.signing.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
USER, SESSION = UserId(new_id()), SessionId(new_id())
NOW = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
LOGIN = NOW - timedelta(hours=1)

Move = Callable[[timedelta], None]


@pytest.fixture
def move(monkeypatch: pytest.MonkeyPatch) -> Move:
    """Stop the clock, and move it relative to that moment."""

    def to(delta: timedelta) -> None:
        monkeypatch.setattr("app.core.security.tokens.utc_now", lambda: NOW + delta)

    to(timedelta())
    return to


@pytest.fixture
def tokens() -> AccessTokens:
    return AccessTokens(KEYS, SETTINGS)


def issued(tokens: AccessTokens, scope: str = "profile:read") -> str:
    return tokens.issue(USER, SESSION, scope, LOGIN)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(datetime.now(UTC).timestamp())
    names = {"iss": "issuer", "aud": "audience", "sub": str(USER), "sid": str(SESSION)}
    rest = {"scope": "profile:read", "jti": "1", "iat": now, "nbf": now, "exp": now + 3600}
    rest["auth_time"] = int(LOGIN.timestamp())
    return without_none(names | rest | changes)


def signed(payload: dict[str, Any], keys: SigningKeys = KEYS, **headers: Any) -> str:
    headers = without_none({"kid": KEYS.signing.kid, "typ": "at+jwt"} | headers)
    return jwt.encode(payload, keys.signing.private, "ES256", headers=headers)


def assembled(algorithm: str, secret: bytes) -> str:
    """Return a token signed with a shared secret, or none: libraries refuse to make these."""
    header = {"alg": algorithm, "kid": KEYS.signing.kid, "typ": "at+jwt"}
    content = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims()))
    signature = hmac.digest(secret, content.encode(), "sha256") if secret else b""
    return f"{content}.{_encoded(signature)}"


def without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _encoded(part: bytes) -> str:
    return urlsafe_b64encode(part).rstrip(b"=").decode()


class TestIssue:
    def test_follows_the_profile_of_rfc_9068(self, tokens: AccessTokens, move: Move) -> None:
        token, other = issued(tokens), issued(tokens)
        header = {"alg": "ES256", "kid": KEYS.signing.kid, "typ": "at+jwt"}
        assert jwt.get_unverified_header(token) == header
        payload = jwt.decode(token, options={"verify_signature": False})
        times = {"iat": NOW.timestamp(), "nbf": NOW.timestamp(), "exp": NOW.timestamp() + 900}
        assert payload == claims(**times, jti=payload["jti"])
        assert len(payload["jti"]) == 36
        assert other != token

    def test_has_the_lifetime_of_the_settings(self, move: Move) -> None:
        tokens = AccessTokens(KEYS, SETTINGS.model_copy(update={"access_token_minutes": 30}))
        claims = tokens.verify(issued(tokens))
        assert tokens.life_seconds == 1800
        assert claims.expires_at == NOW.timestamp() + 1800


class TestVerify:
    def test_returns_the_claims(self, tokens: AccessTokens) -> None:
        claims = tokens.verify(issued(tokens, "profile:read users:read unheard:of"))
        assert (claims.user_id, claims.session_id) == (USER, SESSION)
        assert claims.scope == {"profile:read", "users:read", "unheard:of"}
        assert claims.authenticated_at == LOGIN.timestamp()

    def test_accepts_a_token_made_by_hand(self, tokens: AccessTokens) -> None:
        # Otherwise the refusals below would prove nothing.
        assert tokens.verify(signed(claims())).user_id == USER

    @pytest.mark.parametrize(
        "changes",
        [
            {"iss": "somebody"},
            {"aud": "somebody"},
            {"sub": "ada"},
            {"sid": 7},
            {"scope": ["profile:read"]},
            {"exp": "soon"},
            {"nbf": "soon"},
            {"auth_time": "soon"},
            *({name: None} for name in claims()),
        ],
        ids=str,
    )
    def test_refuses_wrong_and_missing_claims(
        self, tokens: AccessTokens, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidToken):
            tokens.verify(signed(claims(**changes)))

    @pytest.mark.parametrize(
        "token",
        [
            pytest.param(signed(claims(), typ="JWT"), id="another type"),
            pytest.param(signed(claims(), typ=""), id="no type"),
            pytest.param(signed(claims(), kid="somebody"), id="an unknown key id"),
            pytest.param(signed(claims(), kid=None), id="no key id"),
            pytest.param(signed(claims(), SigningKeys.generate()), id="another key"),
            pytest.param(signed(claims(), crit=["x"], x=1), id="a critical extension"),
            pytest.param(assembled("none", b""), id="no signature"),
            pytest.param(assembled("ES256", b""), id="an empty signature"),
            pytest.param(assembled("HS256", PUBLIC_PEM), id="the public key as a shared secret"),
        ],
    )
    def test_refuses_foreign_and_malformed_tokens(self, tokens: AccessTokens, token: str) -> None:
        with pytest.raises(InvalidToken):
            tokens.verify(token)

    @pytest.mark.parametrize("part", range(3))
    @pytest.mark.parametrize("junk", ["=", "==", "!", "\n", " ", "é"])
    def test_refuses_lenient_encodings(self, tokens: AccessTokens, part: int, junk: str) -> None:
        parts = issued(tokens).split(".")
        parts[part] += junk
        with pytest.raises(InvalidToken):
            tokens.verify(".".join(parts))

    def test_refuses_unused_bits(self, tokens: AccessTokens) -> None:
        token = issued(tokens)
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        assert token[-1] in alphabet[::16], "the last character of 64 bytes has two bits"
        with pytest.raises(InvalidToken):
            tokens.verify(token[:-1] + alphabet[alphabet.index(token[-1]) + 1])

    @settings(max_examples=50)
    @given(st.text() | st.text("ey.-_aA0"))
    def test_refuses_any_text(self, text: str) -> None:
        with pytest.raises(InvalidToken):
            AccessTokens(KEYS, SETTINGS).verify(text)

    @given(st.data())
    def test_refuses_a_token_with_a_flipped_bit(self, data: st.DataObject) -> None:
        tokens = AccessTokens(KEYS, SETTINGS)
        parts = [bytearray(_decoded(part)) for part in issued(tokens).split(".")]
        part = data.draw(st.sampled_from(parts))
        at = data.draw(st.integers(0, len(part) - 1))
        part[at] ^= 1 << data.draw(st.integers(0, 7))
        with pytest.raises(InvalidToken):
            tokens.verify(".".join(_encoded(bytes(part)) for part in parts))

    def test_allows_clocks_to_differ_by_five_seconds(
        self, tokens: AccessTokens, move: Move
    ) -> None:
        token = issued(tokens)
        for valid in (timedelta(seconds=-5), timedelta(minutes=15, seconds=4)):
            move(valid)
            assert tokens.verify(token).user_id == USER
        move(timedelta(seconds=-6))
        with pytest.raises(InvalidToken, match="not valid yet"):
            tokens.verify(token)
        move(timedelta(minutes=15, seconds=5))
        with pytest.raises(InvalidToken, match="expired"):
            tokens.verify(token)


class TestRequireRecent:
    @pytest.mark.parametrize("age", [-5, 0, 300])
    def test_accepts_a_login_of_the_last_minutes(
        self, tokens: AccessTokens, move: Move, age: int
    ) -> None:
        tokens.require_recent(NOW.timestamp() - age)

    @pytest.mark.parametrize("age", [-3600, -6, 300.001, 3600])
    def test_refuses_an_earlier_one_and_one_in_the_future(
        self, tokens: AccessTokens, move: Move, age: float
    ) -> None:
        with pytest.raises(InsufficientUserAuthentication) as refused:
            tokens.require_recent(NOW.timestamp() - age)
        assert refused.value.max_age == 300

    def test_refuses_credentials_that_had_none(self, tokens: AccessTokens) -> None:
        with pytest.raises(InsufficientUserAuthentication):
            tokens.require_recent(None)

    def test_has_the_time_of_the_settings(self, move: Move) -> None:
        tokens = AccessTokens(KEYS, SETTINGS.model_copy(update={"step_up_seconds": 60}))
        tokens.require_recent(NOW.timestamp() - 60)
        with pytest.raises(InsufficientUserAuthentication):
            tokens.require_recent(NOW.timestamp() - 61)


class TestCache:
    def test_verifies_a_signature_once_and_times_always(
        self, tokens: AccessTokens, move: Move
    ) -> None:
        token = issued(tokens)
        with patch("jwt.decode", wraps=jwt.decode) as decode:
            tokens.verify(token)
            tokens.verify(token)
            move(timedelta(hours=1))
            with pytest.raises(InvalidToken):
                tokens.verify(token)
        assert decode.call_count == 1

    def test_is_not_shared(self, tokens: AccessTokens) -> None:
        token = issued(tokens)
        tokens.verify(token)
        with pytest.raises(InvalidToken):
            AccessTokens(SigningKeys.generate(), SETTINGS).verify(token)


class TestRotation:
    def test_keeps_tokens_valid_until_the_old_key_is_removed(self) -> None:
        added = KEYS.add()
        promoted = added.promote(added.kids[1])
        removed = promoted.remove(KEYS.signing.kid)
        before, during, after, end = (
            AccessTokens(keys, SETTINGS) for keys in (KEYS, added, promoted, removed)
        )
        first, second = issued(before), issued(after)
        assert during.verify(first).user_id == USER
        assert during.verify(second).user_id == USER, "not promoted there yet, but known"
        assert after.verify(first).user_id == USER
        assert end.verify(second).user_id == USER
        with pytest.raises(InvalidToken):
            end.verify(first)
