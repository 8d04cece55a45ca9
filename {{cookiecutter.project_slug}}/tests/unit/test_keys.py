"""Signing keys, and their rotation (rule SEC03)."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm
from pydantic import SecretStr

from app.core.config import AuthSettings, ConfigurationError
from app.core.errors import OperatorError
from app.core.security import keys as module
from app.core.security.keys import SigningKey, SigningKeys, load_signing_keys

KEY = SigningKey.generate()
PRIVATE = KEY.to_jwk(private=True)
P384 = ECAlgorithm.to_jwk(generate_private_key(SECP384R1()), as_dict=True)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class TestSigningKey:
    def test_keeps_its_id_or_is_named_by_its_thumbprint(self) -> None:
        # RFC 7638, section 3.1, for the example key of RFC 7517, appendix A.1.
        public = {
            "kty": "EC",
            "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        }
        example = public | {"d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}
        named = SigningKey.from_jwk({**example, "kid": "1"})
        unnamed = SigningKey.from_jwk({**example, "kid": ""})
        assert (named.kid, unnamed.kid) == ("1", "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s")
        usage = {"use": "sig", "alg": "ES256", "kid": "1"}
        assert named.to_jwk(private=False) == public | usage
        assert named.to_jwk(private=True) == example | usage

    def test_has_no_id_that_looks_like_an_option(self, monkeypatch: pytest.MonkeyPatch) -> None:
        thumbprints = iter(["-first", "--second", "third", "fourth"])
        monkeypatch.setattr(module, "_thumbprint", lambda _: next(thumbprints))
        assert SigningKey.generate().kid == "third"


class TestSigningKeys:
    def test_survive_a_round_trip_and_publish_no_private_part(self) -> None:
        keys = SigningKeys.generate().add()
        read = SigningKeys.from_json(keys.to_json())
        assert read.to_json() == keys.to_json()
        published = keys.public_jwks()["keys"]
        assert tuple(jwk["kid"] for jwk in published) == read.kids == keys.kids
        assert all("d" not in jwk for jwk in published)

    @pytest.mark.parametrize(
        "jwk",
        [
            pytest.param(KEY.to_jwk(private=False), id="a public key"),
            pytest.param(P384, id="another curve"),
            pytest.param({"kty": "oct", "k": "c2VjcmV0"}, id="a shared secret"),
            pytest.param({**PRIVATE, "x": "AAAA"}, id="a broken point"),
            pytest.param({**PRIVATE, "d": ""}, id="no private part"),
            pytest.param(json.dumps(PRIVATE), id="a string"),
        ],
    )
    def test_refuse_a_key_that_cannot_sign(self, jwk: Any) -> None:
        with pytest.raises(ValueError, match="has a key that is not a private key") as refused:
            SigningKeys.from_json(json.dumps({"keys": [PRIVATE, jwk]}))
        assert PRIVATE["d"] not in str(refused.value)

    @settings(max_examples=30)
    @given(st.fixed_dictionaries({"keys": json_values}).map(json.dumps) | json_values.map(str))
    def test_refuse_any_other_text(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"JWK Set|has a key"):
            SigningKeys.from_json(text)

    def test_rotate(self) -> None:
        one = SigningKeys.generate()
        two = one.add()
        first, second = two.kids
        assert one.kids == (first,)
        assert two.promote(second).kids == (second, first)
        assert two.promote(first).kids == two.kids
        assert two.remove(second).kids == (first,)
        with pytest.raises(OperatorError, match="promote another one first"):
            two.remove(first)
        for change in (two.promote, two.remove):
            with pytest.raises(OperatorError, match="No key unknown"):
                change("unknown")


class TestLoadSigningKeys:
    @pytest.fixture(autouse=True)
    def _elsewhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)

    def test_takes_a_variable_or_a_file(self) -> None:
        keys = SigningKeys.generate()
        Path("keys.json").write_text(keys.to_json())
        for auth in (
            AuthSettings(signing_keys=SecretStr(keys.to_json())),
            AuthSettings(signing_keys_file=Path("keys.json")),
        ):
            assert load_signing_keys(auth, development=False).kids == keys.kids

    @pytest.mark.parametrize("content", [None, b"", b"hidden", b"\xff\xfe", b'{"keys": []}'])
    def test_refuses_text_without_keys(self, content: bytes | None) -> None:
        if content is not None:
            Path("keys.json").write_bytes(content)
        auth = AuthSettings(signing_keys_file=Path("keys.json"))
        message = r"SIGNING_KEYS_FILE: keys\.json (can't be read|is).*app keys generate"
        with pytest.raises(ConfigurationError, match=message) as refused:
            load_signing_keys(auth, development=False)
        assert "hidden" not in str(refused.value)
        auth = AuthSettings(signing_keys=SecretStr("hidden"))
        with pytest.raises(ConfigurationError, match=r"SIGNING_KEYS: the text is not"):
            load_signing_keys(auth, development=False)

    def test_creates_a_private_file_in_development_alone(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="SIGNING_KEYS: must be set"):
            load_signing_keys(AuthSettings(), development=False)
        assert list(tmp_path.iterdir()) == []
        first = load_signing_keys(AuthSettings(), development=True)
        assert load_signing_keys(AuthSettings(), development=True).kids == first.kids
        path = tmp_path / ".dev/signing-keys.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(path.parent.iterdir()) == [path]
