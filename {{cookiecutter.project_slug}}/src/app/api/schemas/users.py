"""Users at the boundary."""

from typing import Annotated

from pydantic import (
    MISSING,
    AfterValidator,
    BeforeValidator,
    EmailStr,
    Field,
    Secret,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from app.core.security.passwords import MAX_LENGTH, MIN_LENGTH, password_faults
from app.domain.permissions import Role
from app.domain.users import ProfileChanges, UserChanges, UserFilter, UserSort
from app.infrastructure.http.schemas import (
    PASSWORD_FORMAT,
    TEXT,
    VISIBLE_LINE,
    ChangingResourceResponse,
    InputModel,
    Page,
    PageQuery,
    Password,
)

_EMAIL = "ada@example.com"
_PASSWORD = "Analytical1Engine"  # noqa: S105 - an example

_LONGEST_LOCAL_PART = 64


def _is_strong(password: Secret[str]) -> Secret[str]:
    faults = password_faults(password.get_secret_value())
    if faults:
        raise PydanticCustomError(
            "weak_password", "The password needs {faults}", {"faults": ", ".join(faults)}
        )
    return password


def _is_bare_address(value: object) -> object:
    """Refuse what `EmailStr` would take: a name before the address, and more than mail servers do.

    Before the `@` stand 64 octets at most (RFC 5321 §4.5.3.1.1).
    """
    if isinstance(value, str):
        local, _, _ = value.strip().partition("@")
        if "<" in value or len(local.encode(errors="replace")) > _LONGEST_LOCAL_PART:
            raise PydanticCustomError("value_error", "value is not a valid email address")
    return value


Email = Annotated[
    EmailStr,
    BeforeValidator(_is_bare_address),
    Field(max_length=254, description="E-mail address."),
]
Username = Annotated[
    str,
    StringConstraints(min_length=3, max_length=32, pattern=r"^[a-z0-9][a-z0-9._-]*[a-z0-9]$"),
    Field(description="Name to log in with: 3 to 32 lower-case letters, digits, `.`, `_`, `-`."),
]
FullName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=VISIBLE_LINE)]
NewPassword = Annotated[
    Secret[
        Annotated[
            str,
            StringConstraints(
                strip_whitespace=False,
                min_length=MIN_LENGTH,
                max_length=MAX_LENGTH,
                pattern=TEXT,
            ),
        ]
    ],
    AfterValidator(_is_strong),
    Field(
        json_schema_extra=PASSWORD_FORMAT,
        description=(
            f"{MIN_LENGTH} to {MAX_LENGTH} characters, with an upper-case letter, a lower-case "
            "letter and a digit."
        ),
    ),
]


class UserCreate(InputModel):
    """A new account."""

    email: Email = Field(examples=[_EMAIL])
    username: Username = Field(examples=["ada"])
    password: NewPassword = Field(examples=[_PASSWORD])
    full_name: FullName | None = Field(
        None, description="Name to show, if any.", examples=["Ada Lovelace"]
    )


class ProfileUpdate(InputModel):
    """Changes of one's own profile; what is left out stays as it is."""

    email: Email | MISSING = Field(MISSING, description="E-mail address.", examples=[_EMAIL])
    full_name: FullName | MISSING | None = Field(
        MISSING, description="Name to show; null removes it.", examples=["Ada King"]
    )

    def changes(self) -> ProfileChanges:
        """Return what is to be changed, in the words of the domain."""
        changes = self.model_dump()
        clears = "full_name" in changes and changes["full_name"] is None
        return ProfileChanges(**changes, clears_full_name=clears)


class PasswordUpdate(InputModel):
    """A new password; the current one proves that it is really the owner who asks."""

    current_password: Password = Field(description="The password until now.", examples=[_PASSWORD])
    new_password: NewPassword = Field(examples=["Difference2Engine"])


class UserUpdate(InputModel):
    """Changes that an administrator makes; what is left out stays as it is."""

    role: Role | MISSING = Field(MISSING, description="What the user may do.", examples=["support"])
    is_active: bool | MISSING = Field(
        MISSING,
        strict=True,
        description="False keeps the user out and ends all its sessions.",
        examples=[False],
    )

    def changes(self) -> UserChanges:
        """Return what is to be changed, in the words of the domain."""
        return UserChanges(**self.model_dump())


class UserResponse(ChangingResourceResponse):
    """A user."""

    email: str = Field(description="E-mail address.", examples=[_EMAIL])
    username: str = Field(description="Name to log in with.", examples=["ada"])
    full_name: str | None = Field(description="Name to show, if any.", examples=["Ada Lovelace"])
    role: Role = Field(description="What the user may do.", examples=["user"])
    is_active: bool = Field(description="Whether the user may come in.", examples=[True])


class UserPage(Page[UserResponse]):
    """Some of a list of users."""


class UserListQuery(PageQuery):
    """Which users are wanted, and in which order."""

    sort: UserSort = Field(
        "-created_at",
        description="What to sort by; a minus in front for descending order.",
        examples=["username"],
    )
    role: Role | None = Field(None, description="Only users of this role.", examples=["admin"])
    is_active: bool | None = Field(
        None, description="Only users who may come in, or who may not.", examples=[True]
    )

    def wanted(self) -> UserFilter:
        """Return which users are wanted, in the words of the domain."""
        return UserFilter(role=self.role, is_active=self.is_active)
