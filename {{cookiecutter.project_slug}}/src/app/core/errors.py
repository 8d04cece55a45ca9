"""Base errors.

`app.infrastructure.http.problems` maps each family to a status. Clients branch on `code`: it never
changes.
"""

from dataclasses import dataclass
from typing import ClassVar


class DomainError(Exception):
    """Base of all errors that clients may see.

    Attributes:
        code: Stable name for programs.
        title: Short summary, the same for each occurrence.
        detail: Explanation of this occurrence, safe to show.
        context: Fields for the log only.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Request failed"

    def __init__(self, detail: str | None = None, **context: object) -> None:
        self.detail = detail or f"{self.title}."
        self.context = context
        super().__init__(self.detail)


class Unauthenticated(DomainError):
    """The request has no valid credentials."""

    code = "unauthenticated"
    title = "Authentication required"


class InvalidToken(Unauthenticated):
    """The access token or API key is malformed, expired, revoked or forged."""

    code = "invalid_token"
    title = "Invalid token"


class InsufficientUserAuthentication(Unauthenticated):
    """The password was entered too long ago for the operation (RFC 9470 §3)."""

    code = "insufficient_user_authentication"
    title = "More recent authentication required"

    def __init__(self, max_age: int) -> None:
        super().__init__(f"Enter your password again; it is accepted for {max_age} seconds.")
        self.max_age = max_age


class Forbidden(DomainError):
    """The user may not do this."""

    code = "forbidden"
    title = "Forbidden"


class InsufficientScope(Forbidden):
    """The token lacks a permission of the operation (RFC 6750 §3.1)."""

    code = "insufficient_scope"
    title = "Insufficient scope"

    def __init__(self, required: tuple[str, ...]) -> None:
        super().__init__(f"This operation requires {' '.join(required)}.", required=required)
        self.required = required


class NotFound(DomainError):
    """The resource does not exist or is not visible to this user."""

    code = "not_found"
    title = "Not found"


class Conflict(DomainError):
    """The request conflicts with stored data."""

    code = "conflict"
    title = "Conflict"


class EditConflict(Conflict):
    """Another request changed the resource at the same time."""

    code = "edit_conflict"
    title = "Concurrent modification"


class PreconditionFailed(DomainError):
    """The resource has another version than the client expects (RFC 9110 §13.1.1)."""

    code = "precondition_failed"
    title = "Resource modified"

    def __init__(self, version: int) -> None:
        super().__init__(
            f"The current version is {version}. Read the resource again and send its `ETag`, with"
            " the quotes."
        )


class ContentTooLarge(DomainError):
    """The request body exceeds its limit (RFC 9110 §15.5.14)."""

    code = "content_too_large"
    title = "Request body too large"


class UnsupportedContent(DomainError):
    """The request body has a media type that is not supported (RFC 9110 §15.5.16)."""

    code = "unsupported_media_type"
    title = "Unsupported media type"


@dataclass(frozen=True, slots=True)
class FieldError:
    """An error in one field, such as `body.name`: a message for people, a code for programs."""

    field: str
    message: str
    code: str


class InvalidInput(DomainError):
    """The request is well-formed but invalid."""

    code = "validation_error"
    title = "Validation failed"

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = errors


class SearchTooSlow(InvalidInput):
    """A search exceeded its time limit: the client must narrow it, and a retry can't help."""

    code = "search_too_slow"
    title = "Search too slow"

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.detail = f"The search took more than {seconds:g} seconds. Add filters to narrow it."


class TooManyRequests(DomainError):
    """A rate limit is reached; retry after `retry_after` seconds."""

    code = "too_many_requests"
    title = "Too many requests"

    def __init__(self, retry_after: int, detail: str | None = None, **context: object) -> None:
        super().__init__(detail or f"Retry in {retry_after} seconds.", **context)
        self.retry_after = retry_after


class TooManyConcurrentRequests(TooManyRequests):
    """The account has too many requests in progress in this process."""

    code = "too_many_concurrent_requests"
    title = "Too many concurrent requests"


class Unavailable(DomainError):
    """A dependency of the service is down; retry after `retry_after` seconds."""

    code = "unavailable"
    title = "Service unavailable"
    retry_after: ClassVar[int] = 5


class DatabaseUnavailable(Unavailable):
    """The database is unreachable or too slow."""

    code = "database_unavailable"
    title = "Database unavailable"


class PasswordHashingBusy(Unavailable):
    """Too many logins wait for a hashing thread."""

    code = "busy"
    title = "Too many concurrent logins"
    retry_after = 1


class OperatorError(Exception):
    """A command or the startup failed; the message, for operators, says why and how to fix it."""
