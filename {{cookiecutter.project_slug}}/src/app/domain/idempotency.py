"""Requests that are sent twice and carried out once (draft-ietf-httpapi-idempotency-key-header)."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.errors import Conflict, FieldError, InvalidInput, Unavailable


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key as a client chose it, and what it is good for.

    Attributes:
        account: Whose key it is; another's of the same text is another key.
        operation: What it was sent to: method and path.
        text: As it was sent.
    """

    account: UUID
    operation: str
    text: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to carry out the request of a key.

    Attributes:
        key: The key.
        fingerprint: What the request asks for.
        token: Tells this claim from a later one for the same key.
    """

    key: IdempotencyKey
    fingerprint: str
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered, to be given again.

    Attributes:
        status: The HTTP status.
        headers: Those that say something of the answer, with their names in lower case.
        body: The body, byte by byte.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class IdempotencyKeyInUse(Conflict):
    """The first request of the key has not ended yet, or its end is not known.

    Attributes:
        retry_after: Seconds until another try makes sense.
    """

    code = "idempotency_key_in_use"
    title = "A request with this idempotency key is under way"
    retry_after: ClassVar[int] = 1


class IdempotencyKeyRefused(InvalidInput):
    """The key can't be taken with this request.

    Attributes:
        advice: What to do, in a few words.
    """

    advice: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(FieldError("header.Idempotency-Key", self.advice, self.code))


class IdempotencyKeyRepeated(IdempotencyKeyRefused):
    """The request came with several keys, of which none is more its own than another."""

    code = "idempotency_key_repeated"
    title = "A request has one idempotency key"
    advice = "Send one key"


class IdempotencyKeyReused(IdempotencyKeyRefused):
    """The key came with another request before."""

    code = "idempotency_key_reused"
    title = "This idempotency key was used for another request"
    advice = "Use a new key for a new request, and the old one for the very same"


class IdempotencyUnavailable(Unavailable):
    """What keeps the keys does not answer, so that nothing can be promised."""

    code = "idempotency_unavailable"
    title = "Idempotency keys are not available right now"
