"""Signing keys: a private JSON Web Key Set (RFC 7517) for ES256; the first key signs.

A rotation without logouts has three steps, each rolled out to every process before the next:
`add` (the key is published and accepted), `promote` (it signs), and `remove` for the old key, once
its last token has expired.
"""

import hashlib
import json
import os
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from jwt import PyJWK, PyJWTError
from jwt.algorithms import ECAlgorithm

from app.core.config import AuthSettings, ConfigurationError
from app.core.errors import OperatorError

ALGORITHM: Final = "ES256"
DEVELOPMENT_KEYS: Final = Path(".dev/signing-keys.json")
_REMEDY: Final = "create keys with `app keys generate`"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair and its id, by default the thumbprint (RFC 7638)."""

    kid: str
    private: EllipticCurvePrivateKey
    public: EllipticCurvePublicKey

    @classmethod
    def of(cls, private: EllipticCurvePrivateKey, kid: str | None = None) -> "SigningKey":
        """Return the key pair of a private key."""
        public = private.public_key()
        return cls(kid or _thumbprint(public), private, public)

    @classmethod
    def generate(cls) -> "SigningKey":
        """Return a new key, whose id does not look like an option."""
        while (key := cls.of(generate_private_key(SECP256R1()))).kid.startswith("-"):
            continue
        return key

    @classmethod
    def from_jwk(cls, jwk: Any) -> "SigningKey":  # noqa: ANN401 - any JSON
        """Read a private JWK; see `SigningKeys.from_json`."""
        try:
            key = PyJWK(jwk, ALGORITHM).key
        except (PyJWTError, TypeError, ValueError, AttributeError):
            key = None
        if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
            kid = jwk.get("kid")
            return cls.of(key, kid if isinstance(kid, str) else None)
        raise ValueError("has a key that is not a private key for ES256 (EC, P-256)")

    def to_jwk(self, *, private: bool) -> dict[str, str]:
        """Return the JWK, with or without its private part."""
        members = ECAlgorithm.to_jwk(self.private if private else self.public, as_dict=True)
        return {**members, "use": "sig", "alg": ALGORITHM, "kid": self.kid}


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The immutable key set of the service: the first key signs, all of them verify.

    A change that names an unknown key raises `OperatorError`.
    """

    keys: tuple[SigningKey, ...]

    @classmethod
    def generate(cls) -> "SigningKeys":
        """Return a set with one new key."""
        return cls((SigningKey.generate(),))

    @classmethod
    def from_json(cls, text: str) -> "SigningKeys":
        """Read a private JWK Set.

        Raises:
            ValueError: It is invalid. The message continues a sentence and reveals no key.
        """
        try:
            first, *others = json.loads(text)["keys"]
        except (ValueError, TypeError, KeyError):
            raise ValueError('is not a private JWK Set: it must be {"keys": […]}') from None
        return cls(tuple(SigningKey.from_jwk(jwk) for jwk in (first, *others)))

    @property
    def signing(self) -> SigningKey:
        """The key that signs new tokens."""
        return self.keys[0]

    @property
    def kids(self) -> tuple[str, ...]:
        """The ids of the keys, in order."""
        return tuple(key.kid for key in self.keys)

    def get(self, kid: object) -> SigningKey | None:
        """Return the key with this id."""
        return next((key for key in self.keys if key.kid == kid), None)

    def add(self) -> "SigningKeys":
        """Return the set with a new key that verifies but does not sign yet."""
        return SigningKeys((*self.keys, SigningKey.generate()))

    def promote(self, kid: str) -> "SigningKeys":
        """Return the set with this key signing."""
        chosen = self._existing(kid)
        return SigningKeys((chosen, *(key for key in self.keys if key is not chosen)))

    def remove(self, kid: str) -> "SigningKeys":
        """Return the set without this key, which must not be the signing one."""
        chosen = self._existing(kid)
        if chosen is self.signing:
            raise OperatorError(f"{kid} signs and can't be removed; promote another one first.")
        return SigningKeys(tuple(key for key in self.keys if key is not chosen))

    def to_json(self) -> str:
        """Return the private JWK Set."""
        return json.dumps({"keys": [key.to_jwk(private=True) for key in self.keys]}, indent=2)

    def public_jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public JWK Set, for `/.well-known/jwks.json`."""
        return {"keys": [key.to_jwk(private=False) for key in self.keys]}

    def _existing(self, kid: str) -> SigningKey:
        key = self.get(kid)
        if key is None:
            raise OperatorError(f"No key {kid}; list the keys with `app keys list`.")
        return key


def load_signing_keys(auth: AuthSettings, *, development: bool) -> SigningKeys:
    """Return the configured keys; in development, create and keep one if there are none.

    Raises:
        ConfigurationError: There are none, or they are unusable.
    """
    if auth.signing_keys is not None:
        variable, source = "APP_AUTH__SIGNING_KEYS", "the text"
        text = auth.signing_keys.get_secret_value()
    elif auth.signing_keys_file is None and not development:
        raise ConfigurationError({"APP_AUTH__SIGNING_KEYS": f"must be set; {_REMEDY}"})
    else:
        path = auth.signing_keys_file or DEVELOPMENT_KEYS
        if auth.signing_keys_file is None and not path.exists():
            write_private(path, SigningKeys.generate().to_json())
        variable, source = "APP_AUTH__SIGNING_KEYS_FILE", str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError({variable: f"{path} can't be read; {_REMEDY}"}) from error
    try:
        return SigningKeys.from_json(text)
    except ValueError as error:
        raise ConfigurationError({variable: f"{source} {error}; {_REMEDY}"}) from error


def write_private(path: Path, text: str) -> None:
    """Write a file atomically, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def _thumbprint(public: EllipticCurvePublicKey) -> str:
    members = json.dumps(
        ECAlgorithm.to_jwk(public, as_dict=True), separators=(",", ":"), sort_keys=True
    )
    return urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()
