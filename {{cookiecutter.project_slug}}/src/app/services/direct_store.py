"""Addresses by which clients reach the store themselves, past the service."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that whoever has it may send, until it expires.

    Attributes:
        url: Where to. Holds a signature: it is a secret.
        headers: What must be sent along exactly so, for the signature covers it.
    """

    url: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class SignedLink:
    """An address that gives the content of a file to whoever has it.

    Attributes:
        expires_at: When it no longer does.
    """

    url: str
    expires_at: datetime


class DirectStore(Protocol):
    """Signs requests for clients."""

    async def signed_put(
        self, key: str, *, size: int, media_type: str, sha256: str, seconds: int
    ) -> SignedRequest:
        """Return a PUT of exactly these bytes.

        Args:
            key: Where to.
            size: How many bytes; the store refuses any other number.
            media_type: What they are; the store refuses any other.
            sha256: Their SHA-256, in hexadecimal; a store that knows checksums refuses others.
            seconds: How long the request may be sent.
        """

    async def signed_get(
        self, key: str, *, media_type: str, disposition: str, seconds: int
    ) -> SignedRequest:
        """Return a GET of an object.

        Args:
            key: Where it is.
            media_type: The `Content-Type` of the answer.
            disposition: The `Content-Disposition` of the answer.
            seconds: How long the request may be sent.
        """
