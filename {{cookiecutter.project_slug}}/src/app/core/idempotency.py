"""Idempotency keys: a request that is sent twice is carried out once.

See draft-ietf-httpapi-idempotency-key-header.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.errors import Conflict, FieldError, InvalidInput, TooManyRequests


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key that a client has chosen for a request.

    Attributes:
        account: Owner of the key; keys of different accounts never collide.
        operation: Method and path of the request.
        text: The header's value.
        fingerprint: Digest of the request, in hexadecimal.
    """

    account: UUID
    operation: str
    text: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A response.

    Attributes:
        headers: Values by name in lower case.
        body: `None` if it is not stored.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | None


class IdempotencyKeyInUse(Conflict):
    """The first request of the key has not ended.

    Attributes:
        retry_after: Seconds until a retry makes sense.
    """

    code = "idempotency_key_in_use"
    title = "A request with this idempotency key is in progress"
    retry_after: ClassVar[int] = 1


class IdempotencyAnswerNotKept(Conflict):
    """The request was carried out, and its response was too large to be stored.

    Attributes:
        location: Path of the resource that it created, if any.
    """

    code = "idempotency_answer_not_kept"
    title = "Request already carried out; its response was too large to be stored"
    location: str | None = None

    def __init__(self, location: str | None) -> None:
        super().__init__()
        self.location = location


class TooManyIdempotencyKeys(TooManyRequests):
    """The account has the maximum number of unexpired keys."""

    code = "too_many_idempotency_keys"
    title = "Too many idempotency keys"


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
