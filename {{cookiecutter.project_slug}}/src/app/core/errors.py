"""Base errors.

Services raise these and know nothing of HTTP; `app.infrastructure.http.problems` maps each family
to a status. `code` is part of the interface: clients branch on it, so it never changes.
"""

from dataclasses import dataclass
from typing import ClassVar


class DomainError(Exception):
    """The root of everything a client may be told.

    Attributes:
        code: Stable, machine-readable name of the problem.
        title: The problem in a few words, the same for each occurrence.
        detail: This occurrence, in a sentence that is safe to show to the client.
        context: Facts for the log line; they never reach the client.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "The request could not be carried out"

    def __init__(self, detail: str | None = None, **context: object) -> None:
        self.detail = detail or f"{self.title}."
        self.context = context
        super().__init__(self.detail)


class Unauthenticated(DomainError):
    """Nobody, or nobody we can believe, is asking."""

    code = "unauthenticated"
    title = "Authentication is required"


class InvalidToken(Unauthenticated):
    """An access token or API key that is malformed, expired, revoked or not ours."""

    code = "invalid_token"
    title = "The token is not valid"


class Forbidden(DomainError):
    """We know who is asking, and the answer is no."""

    code = "forbidden"
    title = "This is not permitted"


class InsufficientScope(Forbidden):
    """The token does not carry a permission that the operation asks for (RFC 6750 §3.1)."""

    code = "insufficient_scope"
    title = "The token lacks a permission"

    def __init__(self, required: tuple[str, ...]) -> None:
        super().__init__(f"This needs the permission {' '.join(required)}.", required=required)
        self.required = required


class NotFound(DomainError):
    """There is no such thing, or none that the one who asks may see."""

    code = "not_found"
    title = "Not found"


class Conflict(DomainError):
    """The request contradicts what is stored."""

    code = "conflict"
    title = "The request conflicts with what is stored"


class EditConflict(Conflict):
    """Two edits of the same thing met; the second must read again."""

    code = "edit_conflict"
    title = "It was changed by another request at the same time"


class PreconditionFailed(DomainError):
    """The resource has another version than the client expects (RFC 9110 §13.1.1)."""

    code = "precondition_failed"
    title = "The resource has been modified"

    def __init__(self) -> None:
        super().__init__("Read the resource again and send its current `ETag`, with the quotes.")


class ContentTooLarge(DomainError):
    """More than is taken (RFC 9110 §15.5.14)."""

    code = "content_too_large"
    title = "The request body is too large"


class UnsupportedContent(DomainError):
    """Of a kind that is not taken (RFC 9110 §15.5.16)."""

    code = "unsupported_media_type"
    title = "This type of content is not accepted"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with one field.

    Attributes:
        field: Path of the field, such as `body.title`.
        message: What is wrong, and what would be right.
        code: Stable, machine-readable name of the fault.
    """

    field: str
    message: str
    code: str


class InvalidInput(DomainError):
    """Well-formed, and still not acceptable."""

    code = "validation_error"
    title = "The request is not valid"

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = errors


class TooManyRequests(DomainError):
    """A limit is reached.

    Attributes:
        retry_after: Seconds until another try makes sense.
    """

    code = "too_many_requests"
    title = "Too many requests"

    def __init__(self, retry_after: int, detail: str | None = None, **context: object) -> None:
        super().__init__(detail or f"Try again in {retry_after} seconds.", **context)
        self.retry_after = retry_after


class Unavailable(DomainError):
    """Something that the service stands on does not answer.

    Attributes:
        retry_after: Seconds until another try makes sense.
    """

    code = "unavailable"
    title = "The service is not available right now"
    retry_after: ClassVar[int] = 5


class DatabaseUnavailable(Unavailable):
    """The database can't be reached, or did not answer in time."""

    code = "database_unavailable"
    title = "The database is not available right now"


class PasswordHashingBusy(Unavailable):
    """More logins are waiting than the hashing threads can take."""

    code = "busy"
    title = "Too many logins at once"
    retry_after = 1


class OperatorError(Exception):
    """Failure of a command or of the start-up; the message says why, and how to fix it.

    It is for operators at a terminal or in front of a log, never for clients of the service.
    """
