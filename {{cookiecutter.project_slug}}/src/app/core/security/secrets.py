"""Random secrets, of which only a hash is stored, if anything.

They have 256 bits of randomness, so a plain SHA-256 suffices: there is nothing to guess. Prefixes
let secret scanners and the log's redaction recognize them.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final
from uuid import UUID

REFRESH_TOKEN_PREFIX: Final = "rt_"  # noqa: S105 - a prefix, not a secret
API_KEY_PREFIX: Final = "ak_"
DEVICE_TOKEN_PREFIX: Final = "dt_"  # noqa: S105 - a prefix, not a secret
_SIGNATURE_LENGTH: Final = 64


def new_secret(prefix: str) -> str:
    """Return a new secret."""
    return prefix + secrets.token_urlsafe(32)


def new_refresh_token() -> str:
    """Return a new refresh token."""
    return new_secret(REFRESH_TOKEN_PREFIX)


def new_api_key() -> str:
    """Return a new API key."""
    return new_secret(API_KEY_PREFIX)


def new_device_token(account: UUID, password_hash: str) -> str:
    """Return a new device token, which is not stored: an account and its password hash sign it.

    Hence a new password revokes it.
    """
    return _signed(new_secret(DEVICE_TOKEN_PREFIX), account, password_hash)


def is_device_token(token: str, account: UUID, password_hash: str) -> bool:
    """Return whether a device token is valid for an account with this password hash."""
    signed = _signed(token[:-_SIGNATURE_LENGTH], account, password_hash)
    return secrets.compare_digest(signed.encode(), token.encode())


def _signed(text: str, account: UUID, password_hash: str) -> str:
    signature = hmac.new(password_hash.encode(), f"{account}:{text}".encode(), hashlib.sha256)
    return text + signature.hexdigest()


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret, in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def decode_base64url(text: str) -> bytes:
    """Decode base64url without padding (RFC 7515 §2).

    Raises:
        ValueError: The text has unused bits, or other characters, which the standard library skips.
    """
    content = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if urlsafe_b64encode(content).rstrip(b"=") != text.encode():
        raise ValueError("not base64url")
    return content
