"""Random secrets, of which only a hash is stored.

They have 256 bits of randomness, so a plain SHA-256 suffices: there is nothing to guess. Prefixes
let secret scanners and the log's redaction recognize them.
"""

import hashlib
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

REFRESH_TOKEN_PREFIX: Final = "rt_"  # noqa: S105 - a prefix, not a secret
API_KEY_PREFIX: Final = "ak_"


def new_secret(prefix: str) -> str:
    """Return a new secret."""
    return prefix + secrets.token_urlsafe(32)


def new_refresh_token() -> str:
    """Return a new refresh token."""
    return new_secret(REFRESH_TOKEN_PREFIX)


def new_api_key() -> str:
    """Return a new API key."""
    return new_secret(API_KEY_PREFIX)


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret, in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def decode_base64url(text: str) -> bytes:
    """Decode base64url without padding (RFC 7515 §2).

    Raises:
        ValueError: The text has other characters, which the standard library skips, or unused bits.
    """
    content = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if urlsafe_b64encode(content).rstrip(b"=") != text.encode():
        raise ValueError("not base64url")
    return content
