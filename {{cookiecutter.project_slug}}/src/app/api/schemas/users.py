"""Requests and responses about users."""

from typing import Annotated, cast

from pydantic import (
    MISSING,
    Field,
    Secret,
    StringConstraints,
)

from app.api.schemas.api_keys import ApiKeyResponse
from app.core.security.passwords import MAX_LENGTH, MIN_LENGTH
from app.domain.permissions import Role
from app.domain.users import NewUser, ProfileFields, UserChanges, UserFilter, UserSort
from app.infrastructure.http.schemas import (
    PASSWORD_FORMAT,
    TEXT,
    VISIBLE_LINE,
    ChangingResourceResponse,
    Email,
    InputModel,
    Page,
    PageQuery,
    Password,
    ResponseModel,
)

_EMAIL = "ada@example.com"
_PASSWORD = "Analytical1Engine"  # noqa: S105 - an example

Username = Annotated[
    str,
    StringConstraints(min_length=3, max_length=32, pattern=r"^[a-z0-9][a-z0-9._-]*[a-z0-9]$"),
    Field(description="Username for login: 3 to 32 lower-case letters, digits, `.`, `_` or `-`."),
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
    Field(
        json_schema_extra=PASSWORD_FORMAT,
        description=(
            f"{MIN_LENGTH} to {MAX_LENGTH} characters of any script. Common passwords and "
            "variations of the names of the account or the service are refused."
        ),
    ),
]


class UserCreate(InputModel):
    """A new account."""

    email: Email = Field(examples=[_EMAIL])
    username: Username = Field(examples=["ada"])
    password: NewPassword = Field(examples=[_PASSWORD])
    full_name: FullName | None = Field(None, description="Display name.", examples=["Ada Lovelace"])

    def fields(self) -> NewUser:
        """Return the fields, without the password."""
        return cast("NewUser", self.model_dump(exclude={"password"}))


class ProfileUpdate(InputModel):
    """Fields to update; others keep their values."""

    email: Email | MISSING = Field(MISSING, description="E-mail address.", examples=[_EMAIL])
    full_name: FullName | MISSING | None = Field(
        MISSING, description="Display name; null removes it.", examples=["Ada King"]
    )

    def fields(self) -> ProfileFields:
        """Return the given fields."""
        return cast("ProfileFields", self.model_dump())


class PasswordUpdate(InputModel):
    """A new password, confirmed by the current one."""

    current_password: Password = Field(description="Current password.", examples=[_PASSWORD])
    new_password: NewPassword = Field(examples=["Difference2Engine"])
    revoke_api_keys: bool = Field(
        False, strict=True, description="Revoke all your API keys.", examples=[False]
    )


class PasswordUpdateResponse(ResponseModel):
    """API keys that still have access to the account."""

    api_keys: list[ApiKeyResponse] = Field(description="Your API keys, newest first.")


class UserUpdate(InputModel):
    """Fields to update; others keep their values."""

    role: Role | MISSING = Field(
        MISSING, description="Role, which grants permissions.", examples=["support"]
    )
    is_active: bool | MISSING = Field(
        MISSING,
        strict=True,
        description="False deactivates the account and ends its sessions.",
        examples=[False],
    )

    def fields(self) -> UserChanges:
        """Return the given fields."""
        return cast("UserChanges", self.model_dump())


class UserResponse(ChangingResourceResponse):
    """A user."""

    email: str = Field(description="E-mail address.", examples=[_EMAIL])
    username: str = Field(description="Username for login.", examples=["ada"])
    full_name: str | None = Field(description="Display name.", examples=["Ada Lovelace"])
    role: Role = Field(description="Role, which grants permissions.", examples=["user"])
    is_active: bool = Field(description="Whether the user can log in.", examples=[True])


class UserPage(Page[UserResponse]):
    """A page of users."""


class UserListQuery(PageQuery):
    """Filters and order of a list of users."""

    sort: UserSort = Field(
        "-created_at",
        description="Field to sort by; prefix it with `-` for descending order.",
        examples=["username"],
    )
    role: Role | None = Field(None, description="Only users with this role.", examples=["admin"])
    is_active: bool | None = Field(
        None, description="Only active or only inactive users.", examples=[True]
    )

    def to_filter(self) -> UserFilter:
        """Return the conditions."""
        return UserFilter(role=self.role, is_active=self.is_active)
