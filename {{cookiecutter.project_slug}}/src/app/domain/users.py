"""Users, as they are read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NewType
from uuid import UUID

from typing_extensions import TypeAliasType

from app.core.errors import Conflict, Forbidden, NotFound
from app.domain.permissions import Role

UserId = NewType("UserId", UUID)
UserSort = TypeAliasType(
    "UserSort",
    Literal["created_at", "-created_at", "username", "-username", "email", "-email"],
)


class UserNotFound(NotFound):
    """No such user."""

    code = "user_not_found"
    title = "There is no such user"


class WrongPassword(Forbidden):
    """The current password, asked for once more, is wrong."""

    code = "wrong_password"
    title = "The current password is wrong"


class EmailTaken(Conflict):
    """Another account has this e-mail address."""

    code = "email_taken"
    title = "This e-mail address is taken"


class UsernameTaken(Conflict):
    """Another account has this user name."""

    code = "username_taken"
    title = "This user name is taken"


class LastAdministrator(Conflict):
    """Nobody would be left to administer the service."""

    code = "last_administrator"
    title = "The last administrator can't be removed"


@dataclass(frozen=True, slots=True)
class UserProfile:
    """What may be shown of a user: never the password's hash."""

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
    """What a login is checked against.

    Attributes:
        user_id: Whose they are.
        password_hash: Argon2id, in the PHC string format.
        is_active: Whether the account may log in at all.
        role: Decides what its tokens may do.
    """

    user_id: UserId
    password_hash: str
    is_active: bool
    role: Role


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which users a list holds; `None` means all."""

    role: Role | None = None
    is_active: bool | None = None


@dataclass(frozen=True, slots=True)
class ProfileChanges:
    """What a user changes of its own profile; `None` leaves it as it is.

    Attributes:
        clears_full_name: Whether the name is to be removed.
    """

    email: str | None = None
    full_name: str | None = None
    clears_full_name: bool = False


@dataclass(frozen=True, slots=True)
class UserChanges:
    """What an administrator changes; `None` leaves it as it is."""

    role: Role | None = None
    is_active: bool | None = None


def normalized_email(address: str) -> str:
    """Return the address in the form in which it is stored and compared.

    Case matters in theory before the `@` (RFC 5321 §2.4) and nowhere in practice: two accounts
    whose addresses differ only in case belong to one person or to an impostor.
    """
    return address.strip().lower()
