"""Private JSON Web Key Sets (RFC 7517) for ES256, read: for the settings, and for who signs."""

import json
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from jwt import InvalidKeyError
from jwt.algorithms import ECAlgorithm

PrivateKey = tuple[str | None, EllipticCurvePrivateKey]
"""The id that a key was given, if it was, and the key."""


def private_keys(text: str) -> list[PrivateKey]:
    """Return the keys of a private JWK Set, in their order.

    Raises:
        ValueError: It is none, or holds no key. The message goes after a name of the text; it says
            nothing of the keys themselves.
    """
    try:
        jwks = list(json.loads(text)["keys"])
    except (ValueError, TypeError, KeyError):
        raise ValueError('is not a private JWK Set: it must be {"keys": […]}') from None
    if not jwks:
        raise ValueError("is a JWK Set without a key")
    keys = []
    for number, jwk in enumerate(jwks, start=1):
        try:
            keys.append(private_key(jwk))
        except ValueError as error:
            raise ValueError(f"is unusable: its key {number} is {error}") from None
    return keys


def private_key(jwk: Any) -> PrivateKey:  # noqa: ANN401 - anything that JSON may hold
    """Return the key that a private JWK describes.

    Raises:
        ValueError: It describes none that signs by ES256.
    """
    try:
        key = ECAlgorithm.from_jwk(jwk) if isinstance(jwk, dict) else None
    except (InvalidKeyError, UnsupportedAlgorithm, TypeError, ValueError, AttributeError):
        key = None
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        kid = jwk.get("kid")
        return (kid if isinstance(kid, str) else None), key
    raise ValueError("not a private key for ES256 (EC, P-256)")
