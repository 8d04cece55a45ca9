"""Random secrets that are stored only as a hash.

They carry 256 bits of randomness, so a plain SHA-256 is enough: there is nothing to guess, and
a slow hash would only slow us down. The prefixes let secret scanners and our log redaction
recognise them.
"""

import hashlib
import secrets
from typing import Final

REFRESH_TOKEN_PREFIX: Final = "rt_"  # noqa: S105 - a prefix, not a secret
API_KEY_PREFIX: Final = "ak_"
_RANDOM_BYTES: Final = 32


def new_refresh_token() -> str:
    """Return a new refresh token."""
    return REFRESH_TOKEN_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def new_api_key() -> str:
    """Return a new API key."""
    return API_KEY_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def digest(secret: str) -> str:
    """Return the hash under which a secret is stored: SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
