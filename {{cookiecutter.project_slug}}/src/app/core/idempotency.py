"""Idempotency keys: requests that are sent twice and carried out once.

See draft-ietf-httpapi-idempotency-key-header.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol
from uuid import UUID

from app.core.errors import Conflict, FieldError, InvalidInput, Unavailable


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key that a client has chosen for a request.

    Attributes:
        account: Owner of the key; keys of different accounts never collide.
        operation: Method and path of the request.
        text: The header's value.
    """

    account: UUID
    operation: str
    text: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to carry out the request of a key.

    Attributes:
        fingerprint: Digest of the request.
        token: Distinguishes this claim from later ones of the same key.
    """

    key: IdempotencyKey
    fingerprint: str
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored response.

    Attributes:
        headers: Names in lower case, and values.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class IdempotencyStore(Protocol):
    """Remembers claims and responses."""

    async def claim(self, key: IdempotencyKey, fingerprint: str) -> Claim | Answer:
        """Claim a key, or return the response of its first request.

        A claim whose request never ends expires.

        Args:
            key: The key.
            fingerprint: Digest of the request, of at most 64 characters.

        Raises:
            IdempotencyKeyInUse: The first request of this key has not ended.
            IdempotencyKeyReused: The key was used for a different request.
            IdempotencyUnavailable: The store does not answer.
        """

    async def keep(self, claim: Claim, answer: Answer) -> None:
        """Store the response of a claimed request, once its effect is committed."""

    async def release(self, claim: Claim) -> None:
        """Free the key of a request that had no effect."""

    async def prune(self) -> int:
        """Delete expired keys, and return their number."""


class IdempotencyKeyInUse(Conflict):
    """The first request of the key has not ended, or its outcome is unknown.

    Attributes:
        retry_after: Seconds until a retry makes sense.
    """

    code = "idempotency_key_in_use"
    title = "A request with this idempotency key is in progress"
    retry_after: ClassVar[int] = 1


class IdempotencyKeyRefused(InvalidInput):
    """The key cannot be used for this request.

    Attributes:
        advice: The remedy, in a few words.
    """

    advice: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(FieldError("header.Idempotency-Key", self.advice, self.code))


class IdempotencyKeyRepeated(IdempotencyKeyRefused):
    """The request has more than one key."""

    code = "idempotency_key_repeated"
    title = "More than one idempotency key"
    advice = "Send a single key"


class IdempotencyKeyReused(IdempotencyKeyRefused):
    """The key was used for a different request."""

    code = "idempotency_key_reused"
    title = "Idempotency key used for a different request"
    advice = "Use a new key, or repeat the original request unchanged"


class IdempotencyUnavailable(Unavailable):
    """The store does not answer."""

    code = "idempotency_unavailable"
    title = "Idempotency keys unavailable"
