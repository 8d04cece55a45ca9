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
from app.core.security import keys as module
from app.core.security.keys import SigningKey, SigningKeys, load_signing_keys

KEY = SigningKey.generate()
P384 = ECAlgorithm.to_jwk(generate_private_key(SECP384R1()), as_dict=True)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class TestSigningKey:
    def test_is_named_by_its_thumbprint(self) -> None:
        # Whoever computes the thumbprint of the published key (RFC 7638) gets the same id.
        published = SigningKey.from_jwk({**KEY.private_jwk(), "kid": ""})
        assert published.kid == KEY.kid
        assert len(KEY.kid) == 43

    def test_has_no_name_that_could_be_an_option(self, monkeypatch: pytest.MonkeyPatch) -> None:
        thumbprints = iter(["-first", "_second", "third", "fourth"])
        monkeypatch.setattr(module, "_thumbprint", lambda _: next(thumbprints))
        assert SigningKey.generate().kid == "third"

    def test_keeps_the_name_that_it_was_given(self) -> None:
        assert SigningKey.from_jwk({**KEY.private_jwk(), "kid": "2026-11"}).kid == "2026-11"

    def test_says_what_it_is_for(self) -> None:
        jwk = KEY.public_jwk()
        assert (jwk["kty"], jwk["crv"], jwk["alg"], jwk["use"]) == ("EC", "P-256", "ES256", "sig")

    def test_shows_its_private_part_to_nobody(self) -> None:
        assert KEY.private_jwk().keys() - KEY.public_jwk().keys() == {"d"}

    @pytest.mark.parametrize(
        "jwk",
        [
            pytest.param(KEY.public_jwk(), id="a public key"),
            pytest.param(P384, id="another curve"),
            pytest.param({"kty": "oct", "k": "c2VjcmV0"}, id="a shared secret"),
            pytest.param({**KEY.private_jwk(), "x": "AAAA"}, id="a broken point"),
            pytest.param({}, id="nothing"),
        ],
    )
    def test_is_a_private_key_of_one_curve(self, jwk: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="not a"):
            SigningKey.from_jwk(jwk)


class TestSigningKeys:
    def test_come_back_as_they_were_written(self) -> None:
        keys = SigningKeys.generate().add()
        read = SigningKeys.from_json(keys.to_json())
        assert read.kids == keys.kids
        assert read.to_json() == keys.to_json()

    def test_publish_all_and_no_private_part(self) -> None:
        keys = SigningKeys.generate().add()
        published = keys.public_jwks()["keys"]
        assert tuple(jwk["kid"] for jwk in published) == keys.kids
        assert all("d" not in jwk for jwk in published)

    @pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"keys": 7}', '{"keys": []}'])
    def test_are_not_made_of_something_else(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"JWK|JSON|Expecting"):
            SigningKeys.from_json(text)

    @settings(max_examples=30)
    @given(st.fixed_dictionaries({"keys": json_values}) | json_values)
    def test_refuse_any_json_in_one_way(self, value: object) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
            SigningKeys.from_json(json.dumps(value))

    def test_know_their_own_only(self) -> None:
        keys = SigningKeys.generate()
        assert keys.get(keys.kids[0]) is keys.signing
        assert keys.get("somebody") is None
        assert keys.get(None) is None


class TestRotation:
    def test_adds_a_key_that_does_not_sign_yet(self) -> None:
        keys = SigningKeys.generate()
        added = keys.add()
        assert added.signing is keys.signing
        assert len(added.keys) == 2
        assert len(keys.keys) == 1, "the old set is what it was"

    def test_promotes_a_key_and_keeps_the_others(self) -> None:
        keys = SigningKeys.generate().add().add()
        first, second, third = keys.kids
        assert keys.promote(third).kids == (third, first, second)
        assert keys.promote(first).kids == keys.kids

    def test_removes_a_key_that_does_not_sign(self) -> None:
        keys = SigningKeys.generate().add()
        assert keys.remove(keys.kids[1]).kids == keys.kids[:1]

    def test_keeps_the_key_that_signs(self) -> None:
        keys = SigningKeys.generate().add()
        with pytest.raises(ValueError, match="promote another one first"):
            keys.remove(keys.signing.kid)

    def test_refuses_a_key_that_is_not_there(self) -> None:
        keys = SigningKeys.generate()
        with pytest.raises(KeyError):
            keys.promote("somebody")
        with pytest.raises(KeyError):
            keys.remove("somebody")


class TestLoadSigningKeys:
    @pytest.fixture(autouse=True)
    def _elsewhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)

    def test_takes_them_from_the_settings(self) -> None:
        keys = SigningKeys.generate()
        auth = AuthSettings(signing_keys=SecretStr(keys.to_json()))
        assert load_signing_keys(auth, development=False).kids == keys.kids

    def test_takes_them_from_a_file(self, tmp_path: Path) -> None:
        keys = SigningKeys.generate()
        path = tmp_path / "keys.json"
        path.write_text(keys.to_json())
        auth = AuthSettings(signing_keys_file=path)
        assert load_signing_keys(auth, development=False).kids == keys.kids

    @pytest.mark.parametrize("content", [b"", b"no JSON", b"\xff\xfe", b'{"keys": []}'])
    def test_names_a_file_that_will_not_do_and_what_to_do(
        self, tmp_path: Path, content: bytes
    ) -> None:
        path = tmp_path / "keys.json"
        path.write_bytes(content)
        auth = AuthSettings(signing_keys_file=path)
        with pytest.raises(ConfigurationError, match=r"SIGNING_KEYS_FILE: .*app keys"):
            load_signing_keys(auth, development=False)

    def test_names_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        auth = AuthSettings(signing_keys_file=tmp_path / "nowhere.json")
        with pytest.raises(ConfigurationError, match=r"nowhere\.json can't be read"):
            load_signing_keys(auth, development=False)

    def test_makes_one_for_development_and_keeps_it(self, tmp_path: Path) -> None:
        first = load_signing_keys(AuthSettings(), development=True)
        assert load_signing_keys(AuthSettings(), development=True).kids == first.kids
        path = tmp_path / ".dev/signing-keys.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(path.parent.iterdir()) == [path]

    def test_makes_none_anywhere_else(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="there is no signing key"):
            load_signing_keys(AuthSettings(), development=False)
        assert list(tmp_path.iterdir()) == []
