"""Bases and types of request and response models."""

import re
from datetime import UTC, datetime
from typing import Annotated, Generic, Self, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    Field,
    Secret,
    StringConstraints,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from app.core.pages import MAX_CURSOR_LENGTH, PageRequest
from app.core.security.passwords import MAX_LENGTH

T = TypeVar("T")
_LONGEST_LOCAL_PART = 64
_RFC_3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]")

EXAMPLE_ID = "01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10"

_CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
# Unicode's Default_Ignorable_Code_Point up to U+FFFF: further ones have no escape that Rust's and
# ECMAScript's regular expressions share.
_IGNORABLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
)

LINE = rf"^[^{_CONTROL}]*$"
"""One line of text, without control characters."""

VISIBLE_LINE = rf"^[^{_CONTROL}]*[^\s{_CONTROL}{_IGNORABLE}][^{_CONTROL}]*$"
"""One line of text with a visible character."""

TEXT = r"^[^\u0000]*$"
"""Text without NUL, which databases do not store."""


PASSWORD_FORMAT: JsonDict = {"format": "password", "writeOnly": True}
"""Mark of a password in the OpenAPI document."""

Password = Annotated[
    Secret[
        Annotated[
            str, StringConstraints(strip_whitespace=False, min_length=1, max_length=MAX_LENGTH)
        ]
    ],
    Field(json_schema_extra=PASSWORD_FORMAT),
]
"""A password, white space included (NIST SP 800-63B §3.1.1.2)."""


def is_a_number(value: object) -> object:
    """Accept the integers of JSON Schema: `90` and `90.0`, neither `"90"` nor `true`.

    Put its `BeforeValidator` after `Field`, or the document lacks the bounds of the `Field`.
    """
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


def _is_bare_address(value: object) -> object:
    """Refuse two forms that `EmailStr` accepts: a name before the address, a long local part.

    The local part has at most 64 octets (RFC 5321 §4.5.3.1.1).
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


class InputModel(BaseModel):
    """Base of request models: trims text and refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True)


class ResponseModel(BaseModel):
    """Base of response models, built from the attributes of read models.

    Fields with defaults are always present and documented as required.
    """

    model_config = ConfigDict(
        from_attributes=True, json_schema_serialization_defaults_required=True
    )


class ResourceResponse(ResponseModel):
    """Base of persisted resources."""

    id: UUID = Field(
        description="ID, a UUIDv7.",
        examples=[EXAMPLE_ID],
    )
    created_at: datetime = Field(
        description="Creation time, in UTC.", examples=["2026-11-21T10:30:00Z"]
    )


class ChangingResourceResponse(ResourceResponse):
    """Base of persisted resources that change."""

    updated_at: datetime = Field(
        description="Time of the last change, in UTC.", examples=["2026-11-21T10:30:00Z"]
    )


class Page(ResponseModel, Generic[T]):
    """A page of results; subclasses give generated clients a name without brackets."""

    items: list[T] = Field(description="Results of this page.")
    next_cursor: str | None = Field(
        description="`cursor` of the next page; null on the last page.",
        examples=["WyItY3JlYXRlZF9hdCJd"],
    )


class PageQuery(InputModel):
    """Query parameters of a page."""

    limit: int = Field(20, ge=1, le=100, description="Maximum number of results.", examples=[20])
    cursor: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_CURSOR_LENGTH,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="`next_cursor` of the previous page; omit it for the first page.",
        examples=[None],
    )

    def page(self) -> PageRequest:
        """Return the request for a page."""
        return PageRequest(self.limit, self.cursor)


def _is_written_out(value: object) -> object:
    """Refuse numbers, which Pydantic reads as seconds since 1970."""
    written = isinstance(value, str) and _RFC_3339.match(value)
    if not written and not isinstance(value, datetime):
        raise PydanticCustomError("datetime_parsing", "Input should be a date and time (RFC 3339)")
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("moment_out_of_range", "Input is out of range in UTC") from error


Moment = Annotated[AwareDatetime, BeforeValidator(_is_written_out), AfterValidator(_in_utc)]
"""A time with its time zone, converted to UTC."""


class CreationQuery(InputModel):
    """Filters by the time of creation."""

    created_from: Moment | None = Field(
        None,
        description="Only those created at this time or later.",
        examples=["2026-11-01T00:00:00Z"],
    )
    created_before: Moment | None = Field(
        None,
        description="Only those created before this time.",
        examples=["2026-12-01T00:00:00Z"],
    )

    @model_validator(mode="after")
    def _period_is_not_empty(self) -> Self:
        if self.created_from and self.created_before and self.created_from >= self.created_before:
            raise PydanticCustomError("empty_period", "created_from must be before created_before")
        return self
