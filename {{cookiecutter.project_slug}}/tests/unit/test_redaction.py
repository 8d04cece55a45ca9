"""Redaction of secrets by name and by pattern (rule SEC10)."""

import json
import time
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import jwt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy.exc import StatementError

from app.core.redaction import REDACTED, redact, redacted_text
from app.core.security.secrets import new_api_key, new_refresh_token

NAMES = [
    *("password", "new_password", "Password", "passwd", "pwd", "passphrase", "password_hash"),
    *("token", "access_token", "refreshToken", "tokens", "token_hash", "csrf-token", "jwt"),
    *("secret", "client_secret", "secret_key", "api_key", "X-API-Key", "apikey", "private_key"),
    *("authorization", "Proxy-Authorization", "cookie", "Set-Cookie", "cookies", "credentials"),
    *("signing_key", "signing_keys", "encryption-key", "dsn"),
]
HARMLESS_NAMES = [
    *("token_type", "token_id", "api_key_id", "refresh_token_days", "key", "keyboard", "compass"),
]
WORDS = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~", min_size=12, max_size=60
)
PASSWORDS = st.text(
    st.characters(min_codepoint=33, exclude_categories=["C", "Z"]), min_size=12, max_size=40
)

TEMPLATES: list[Callable[[str], str]] = [
    lambda secret: f"Authorization: Bearer {secret}",
    lambda secret: f"sent bearer {secret} to them",
    lambda secret: f"Authorization: Basic {b64encode(secret.encode()).decode()}",
    lambda secret: f"GET /x?access_token={quote(secret)}&page=1",
    lambda secret: f"password={quote(secret)}",
    lambda secret: str({"password": secret, "name": "x"}),
    lambda secret: json.dumps({"refresh_token": secret, "name": "x"}),
    lambda secret: json.dumps(json.dumps({"api_key": quote(secret)})),
    lambda secret: f"Cookie: session={secret}; theme=dark",
    lambda secret: f"amqp+tls://app:{quote(secret, safe='')}@db:5432/app",
    lambda secret: f"https://{quote(secret, safe='')}@example.com/",
    lambda secret: f"$argon2id$v=19$m=19456,t=2,p=1${quote(secret)}",
    lambda secret: f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----",
    lambda secret: f"-----BEGIN EC PRIVATE KEY-----\n{secret}",
    lambda secret: str(StatementError("bad", "INSERT", {"name": secret}, Exception("no"))),
    lambda secret: f"DETAIL:  Key (email)=({secret}) already exists.",
    lambda secret: f"DETAIL:  Failing row contains (1, {secret}, null, 2026-11-22).",
    lambda secret: f"Input is bad [type=x, input_value={secret!r}, input_type=str]",
]


def redacted(**event: object) -> dict[str, Any]:
    return dict(redact(None, "info", event))


class TestByName:
    def test_hides_the_value(self) -> None:
        for name in NAMES:
            for value in ("hidden", 1234, b"hidden", ["hidden"], {"a": "hidden"}):
                assert redacted(**{name: value}) == {name: REDACTED}

    def test_shows_values_of_similar_names_and_whether_there_is_one(self) -> None:
        for value in (None, True, False):
            assert redacted(password=value) == {"password": value}
        event = dict.fromkeys(HARMLESS_NAMES, "shown")
        assert redacted(**event) == event

    def test_knows_headers_as_asgi_and_clients_have_them(self) -> None:
        event = redacted(headers=[(b"host", b"example.com"), (b"cookie", b"hidden")])
        assert event == {"headers": [["host", "example.com"], ["cookie", REDACTED]]}
        event = redacted(headers=[("host", "example.com"), ("cookie", "hidden")])
        assert event == {"headers": [["host", "example.com"], ["cookie", REDACTED]]}

    def test_handles_recursive_values(self) -> None:
        pair: list[object] = [b"name", None]
        pair[1] = pair
        assert "…" in str(redacted(pair=pair))

    def test_hides_the_private_members_of_a_key(self) -> None:
        event = redacted(value={"kty": "EC", "x": "shown", "d": "hidden"})
        assert event == {"value": {"kty": "EC", "x": "shown", "d": REDACTED}}

    @given(
        st.recursive(
            st.dictionaries(st.sampled_from(NAMES), st.just("hidden-value"), min_size=1),
            lambda inner: st.one_of(
                st.lists(inner), st.tuples(inner), st.dictionaries(st.text(max_size=5), inner)
            ),
            max_leaves=5,
        )
    )
    def test_hides_it_at_any_depth(self, value: object) -> None:
        assert "hidden-value" not in str(redacted(value=value))


class TestByShape:
    @given(secret=WORDS)
    def test_hides_words(self, secret: str) -> None:
        for template in TEMPLATES:
            shown = f"before {template('')} after {REDACTED}"
            if secret not in shown:  # else it would be seen anyway
                assert secret not in redacted_text(f"before {template(secret)} after")

    @given(secret=PASSWORDS, name=st.sampled_from(["password", "token", "client_secret"]))
    def test_hides_any_quoted_text(self, secret: str, name: str) -> None:
        assume(secret not in name)
        for text in (json.dumps({name: secret}), json.dumps({name: secret}, ensure_ascii=False)):
            assert secret not in redacted_text(text)
        assert repr(secret) not in redacted_text(repr({name: secret}))

    def test_hides_our_own_tokens_without_any_context(self) -> None:
        for secret in (new_api_key(), new_refresh_token(), jwt.encode({"sub": "x"}, "k" * 32)):
            assert redacted_text(f"<{secret}>") == f"<{REDACTED}>"
            assert redacted(client=secret) == {"client": REDACTED}

    def test_hides_a_private_key_in_json(self) -> None:
        text = json.dumps({"kty": "EC", "x": "shown", "d": "A" * 43})
        assert "A" * 16 not in redacted_text(text)

    def test_hides_it_in_names(self) -> None:
        assert "hidden" not in str(redacted(value={"password=hidden": 1}))

    def test_hides_secrets_that_a_cut_would_halve(self) -> None:
        text = f"{'x' * 16_370} amqp://app:hidden-password@db/app"
        assert "hidden" not in redacted_text(text)

    def test_keeps_the_rest_of_a_url(self) -> None:
        text = "amqp://app:hidden@db:5432/app"
        assert redacted_text(text) == f"amqp://{REDACTED}@db:5432/app"

    def test_takes_time_in_proportion_to_the_text(self) -> None:
        start = time.process_time()
        for unit in ("a-", "://", "://:", "eyJ", "Key (", "token", "ak_", '"\\', "bearer "):
            redacted_text(unit * 20_000)
        assert time.process_time() - start < 5


class TestHarmlessEvents:
    def test_keep_their_texts(self) -> None:
        for text in ("GET /api/v1/users/{user_id}", "Started server process [1]", "10.0.0.1:80"):
            assert redacted(event=text) == {"event": text}

    @pytest.mark.parametrize(
        ("value", "plain"),
        [
            (UUID(int=1), str(UUID(int=1))),
            (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02 00:00:00+00:00"),
            (b"\xff", "\\xff"),
            ({"a"}, ["a"]),
            (SecretStr("hidden"), "**********"),
            (OSError("gone"), "OSError('gone')"),
            (1.5, 1.5),
        ],
    )
    def test_have_plain_values(self, value: object, plain: object) -> None:
        assert redacted(value=value) == {"value": plain}

    def test_are_cut_if_they_are_long_or_endless(self) -> None:
        loop: list[object] = []
        loop.append(loop)
        for value in ("x" * 100_000, loop):
            text = str(redacted(value=value))
            assert "…" in text
            assert len(text) < 20_000
