"""Signing keys: a private JSON Web Key Set (RFC 7517), of which the first key signs.

A rotation that logs nobody out takes three steps, each rolled out to every process before the
next: `add` (published and accepted everywhere), `promote` (now it signs), and `remove` for the
old one, once the last token that it signed has expired.
"""

import hashlib
import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from jwt.algorithms import ECAlgorithm

from app.core.config import AuthSettings, ConfigurationError
from app.core.jwks import private_key, private_keys

ALGORITHM: Final = "ES256"
DEVELOPMENT_KEYS: Final = Path(".dev/signing-keys.json")
_HOW_TO_MAKE_ONE: Final = (
    "make one with `app keys generate` and set APP_AUTH__SIGNING_KEYS_FILE or "
    "APP_AUTH__SIGNING_KEYS"
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One ES256 key pair.

    Attributes:
        kid: The key id in the header of what it signs: its thumbprint (RFC 7638), if made by us.
    """

    kid: str
    private: EllipticCurvePrivateKey
    public: EllipticCurvePublicKey

    @classmethod
    def generate(cls) -> "SigningKey":
        """Return a new key, whose id no command takes for an option."""
        key = cls.of(None, generate_private_key(SECP256R1()))
        return key if key.kid[0].isalnum() else cls.generate()

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> "SigningKey":
        """Return the key that a private JWK describes.

        Raises:
            ValueError: It is not a private key of the curve P-256.
        """
        return cls.of(*private_key(jwk))

    @classmethod
    def of(cls, kid: str | None, private: EllipticCurvePrivateKey) -> "SigningKey":
        """Return a private key with its public half, and an id if it has none yet."""
        public = private.public_key()
        return cls(kid or _thumbprint(public), private, public)

    def private_jwk(self) -> dict[str, str]:
        """Return the key with its private part."""
        return self._described(ECAlgorithm.to_jwk(self.private, as_dict=True))

    def public_jwk(self) -> dict[str, str]:
        """Return what everybody may know of the key."""
        return self._described(ECAlgorithm.to_jwk(self.public, as_dict=True))

    def _described(self, jwk: dict[str, Any]) -> dict[str, str]:
        members: tuple[str, ...] = ("kty", "crv", "x", "y", "d")
        described = {name: str(jwk[name]) for name in members if name in jwk}
        return {**described, "use": "sig", "alg": ALGORITHM, "kid": self.kid}


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys of the service, unchangeable; the first one signs, all of them verify."""

    keys: tuple[SigningKey, ...]

    @classmethod
    def generate(cls) -> "SigningKeys":
        """Return a set with one new key."""
        return cls((SigningKey.generate(),))

    @classmethod
    def from_json(cls, text: str) -> "SigningKeys":
        """Read a private JWK Set.

        Raises:
            ValueError: It is not one, or holds no key.
        """
        return cls(tuple(SigningKey.of(kid, private) for kid, private in private_keys(text)))

    @property
    def signing(self) -> SigningKey:
        """The key that signs new tokens."""
        return self.keys[0]

    @property
    def kids(self) -> tuple[str, ...]:
        """The ids of the keys; the first one signs."""
        return tuple(key.kid for key in self.keys)

    def get(self, kid: object) -> SigningKey | None:
        """Return the key of this id, if it is one of ours."""
        return next((key for key in self.keys if key.kid == kid), None)

    def add(self) -> "SigningKeys":
        """Return the set with one more key, which verifies and does not sign yet."""
        return SigningKeys((*self.keys, SigningKey.generate()))

    def promote(self, kid: str) -> "SigningKeys":
        """Return the set with this key signing.

        Raises:
            KeyError: There is no such key.
        """
        chosen = self._existing(kid)
        return SigningKeys((chosen, *(key for key in self.keys if key is not chosen)))

    def remove(self, kid: str) -> "SigningKeys":
        """Return the set without this key.

        Raises:
            KeyError: There is no such key.
            ValueError: It is the one that signs.
        """
        chosen = self._existing(kid)
        if chosen is self.signing:
            raise ValueError("the key that signs can't be removed; promote another one first")
        return SigningKeys(tuple(key for key in self.keys if key is not chosen))

    def to_json(self) -> str:
        """Return the private JWK Set: a secret."""
        return json.dumps({"keys": [key.private_jwk() for key in self.keys]}, indent=2)

    def public_jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public JWK Set, for `/.well-known/jwks.json`."""
        return {"keys": [key.public_jwk() for key in self.keys]}

    def _existing(self, kid: str) -> SigningKey:
        key = self.get(kid)
        if key is None:
            raise KeyError(kid)
        return key


def load_signing_keys(auth: AuthSettings, *, development: bool) -> SigningKeys:
    """Return the keys that the settings name.

    In development, with none configured, a key is made once and kept outside version control.

    Raises:
        ConfigurationError: There is none, or it can't be read.
    """
    if auth.signing_keys is not None:
        return _parsed(auth.signing_keys.get_secret_value(), "APP_AUTH__SIGNING_KEYS")
    if auth.signing_keys_file is not None:
        return _read(auth.signing_keys_file, "APP_AUTH__SIGNING_KEYS_FILE")
    if development:
        return _development_keys(DEVELOPMENT_KEYS)
    raise ConfigurationError(f"APP_AUTH__SIGNING_KEYS: there is no signing key; {_HOW_TO_MAKE_ONE}")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def _development_keys(path: Path) -> SigningKeys:
    if not path.exists():
        write_private(path, SigningKeys.generate().to_json())
    return _read(path, str(path))


def _read(path: Path, source: str) -> SigningKeys:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source}: {path} can't be read; {_HOW_TO_MAKE_ONE}") from error
    return _parsed(text, source)


def _parsed(text: str, source: str) -> SigningKeys:
    try:
        return SigningKeys.from_json(text)
    except ValueError as error:
        raise ConfigurationError(f"{source}: the text {error}; {_HOW_TO_MAKE_ONE}") from error


def _thumbprint(public: EllipticCurvePublicKey) -> str:
    jwk = ECAlgorithm.to_jwk(public, as_dict=True)
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()
