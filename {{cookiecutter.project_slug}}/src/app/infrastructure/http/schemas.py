"""What the models at the boundary have in common."""

import re
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Secret,
    StringConstraints,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from app.core.pages import MAX_CURSOR_LENGTH, PageRequest
from app.core.security.passwords import MAX_LENGTH

T = TypeVar("T")
_RFC_3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]")

EXAMPLE_ID = "01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10"

_CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"

LINE = rf"^[^{_CONTROL}]*$"
"""Text on one line: no control characters, which could break out of a log line or a header."""

VISIBLE_LINE = rf"^[^{_CONTROL}]*[^\s{_CONTROL}][^{_CONTROL}]*$"
"""The same, and not only white space."""

TEXT = r"^[^\u0000]*$"
"""Any text but for NUL, which no database stores."""


PASSWORD_FORMAT: JsonDict = {"format": "password", "writeOnly": True}
"""How the OpenAPI document marks a password."""

Password = Annotated[
    Secret[
        Annotated[
            str, StringConstraints(strip_whitespace=False, min_length=1, max_length=MAX_LENGTH)
        ]
    ],
    Field(json_schema_extra=PASSWORD_FORMAT),
]
"""A password as it was typed: white space around it is part of it (NIST SP 800-63B §3.1.1.2)."""


def is_a_number(value: object) -> object:
    """Take for an integer what JSON Schema does: `90` and `90.0`, neither `"90"` nor `true`."""
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


class InputModel(BaseModel):
    """What clients send: trimmed, and refused if it has fields that we don't know."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True)


class ResponseModel(BaseModel):
    """What clients get: made from read models, by their attributes.

    A field with a default is always there, too, and the document says so.
    """

    model_config = ConfigDict(
        from_attributes=True, json_schema_serialization_defaults_required=True
    )


class ResourceResponse(ResponseModel):
    """A stored thing."""

    id: UUID = Field(
        description="Its id, a UUID of version 7.",
        examples=[EXAMPLE_ID],
    )
    created_at: datetime = Field(
        description="When it was created, in UTC.", examples=["2026-11-21T10:30:00Z"]
    )


class ChangingResourceResponse(ResourceResponse):
    """A stored thing that changes."""

    updated_at: datetime = Field(
        description="When it last changed, in UTC.", examples=["2026-11-21T10:30:00Z"]
    )


class Page(ResponseModel, Generic[T]):
    """Some of a list; a named subclass of each keeps the brackets out of generated clients."""

    items: list[T] = Field(description="The entries of this page.")
    next_cursor: str | None = Field(
        description="Send it as `cursor` to get the next page; null at the end of the list.",
        examples=["WyItY3JlYXRlZF9hdCJd"],
    )


class PageQuery(InputModel):
    """Which part of a list is wanted."""

    limit: int = Field(20, ge=1, le=100, description="Most entries in the page.", examples=[20])
    cursor: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_CURSOR_LENGTH,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="The `next_cursor` of the page before; leave it out for the first page.",
        examples=[None],
    )

    def page(self) -> PageRequest:
        """Return which part is wanted, in the words of the domain."""
        return PageRequest(self.limit, self.cursor)


def _is_written_out(value: object) -> object:
    """Refuse what Pydantic would take for seconds or milliseconds since 1970."""
    written = isinstance(value, str) and _RFC_3339.match(value)
    if not written and not isinstance(value, datetime):
        raise PydanticCustomError("datetime_parsing", "Input should be a date and time (RFC 3339)")
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("moment_out_of_range", "No such moment in UTC") from error


Moment = Annotated[AwareDatetime, BeforeValidator(_is_written_out), AfterValidator(_in_utc)]
"""A moment with its time zone, turned to UTC."""
