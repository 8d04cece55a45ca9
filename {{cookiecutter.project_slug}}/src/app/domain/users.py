"""User accounts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NewType, TypedDict
from uuid import UUID

from typing_extensions import TypeAliasType

from app.core.errors import Conflict, Forbidden, NotFound
from app.core.ports import Job
from app.domain.permissions import Role

UserId = NewType("UserId", UUID)
UserSort = TypeAliasType(
    "UserSort",
    Literal["created_at", "-created_at", "username", "-username", "email", "-email"],
)


@dataclass(frozen=True, slots=True)
class AccountCleanup(Job):
    """Base of jobs that delete data outside the database after an account was deleted."""

    user_id: UserId


class UserNotFound(NotFound):
    """The user does not exist."""

    code = "user_not_found"
    title = "User not found"


class WrongPassword(Forbidden):
    """The current password is wrong."""

    code = "wrong_password"
    title = "Incorrect current password"


class EmailTaken(Conflict):
    """Another account has this e-mail address."""

    code = "email_taken"
    title = "E-mail address already in use"


class UsernameTaken(Conflict):
    """Another account has this username."""

    code = "username_taken"
    title = "Username already in use"


class LastAdministrator(Conflict):
    """No other active administrator would be left."""

    code = "last_administrator"
    title = "The last administrator can't be removed"


@dataclass(frozen=True, slots=True)
class UserProfile:
    """A user, without the hash of the password."""

    id: UserId
    email: str
    username: str
    full_name: str | None
    role: Role
    is_active: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """Data that a login is verified against."""

    user_id: UserId
    password_hash: str
    is_active: bool
    role: Role


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Conditions of a list; `None` means any."""

    role: Role | None = None
    is_active: bool | None = None


class ProfileFields(TypedDict, total=False):
    """Fields that a user may update."""

    email: str
    full_name: str | None


class NewUser(ProfileFields):
    """Fields of a new account, apart from the password and the role."""

    username: str


class UserChanges(TypedDict, total=False):
    """Fields that an administrator may update."""

    role: Role
    is_active: bool


def normalized_email(address: str) -> str:
    """Return the address as it is stored and compared: in lower case.

    Case matters before the `@` in theory (RFC 5321 §2.4) and nowhere in practice: of two accounts
    whose addresses differ in case only, one would belong to an impostor.
    """
    return address.strip().lower()
