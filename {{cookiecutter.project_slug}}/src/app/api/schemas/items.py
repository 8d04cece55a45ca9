"""Items at the boundary."""

from typing import Annotated, Self

from pydantic import MISSING, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from app.domain.items import (
    ExportFormat,
    ItemChanges,
    ItemContent,
    ItemFilter,
    ItemSort,
    ItemStatus,
)
from app.infrastructure.http.schemas import (
    TEXT,
    VISIBLE_LINE,
    ChangingResourceResponse,
    InputModel,
    Moment,
    Page,
    PageQuery,
)

Title = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=VISIBLE_LINE),
    Field(description="What it is called.", examples=["Bernoulli numbers"]),
]
Description = Annotated[
    str,
    StringConstraints(max_length=10_000, pattern=TEXT),
    Field(description="What there is to say about it.", examples=["Note G, with a table."]),
]
Status = Annotated[ItemStatus, Field(description="How far it is.", examples=["active"])]


class ItemCreate(InputModel):
    """A new item, or all of one that is replaced."""

    title: Title
    description: Description = ""
    status: Status = "draft"

    def content(self) -> ItemContent:
        """Return the content, in the words of the domain."""
        return ItemContent(self.title, self.description, self.status)


class ItemUpdate(InputModel):
    """Changes of an item; what is left out stays as it is."""

    title: Title | MISSING = MISSING
    description: Description | MISSING = MISSING
    status: Status | MISSING = MISSING

    def changes(self) -> ItemChanges:
        """Return what is to be changed, in the words of the domain."""
        return ItemChanges(**self.model_dump())


class ItemResponse(ChangingResourceResponse):
    """An item."""

    title: str = Field(description="What it is called.", examples=["Bernoulli numbers"])
    description: str = Field(
        description="What there is to say about it.", examples=["Note G, with a table."]
    )
    status: ItemStatus = Field(description="How far it is.", examples=["active"])
    version: int = Field(description="Counts its changes, from 1.", examples=[1])


class ItemPage(Page[ItemResponse]):
    """Some of a list of items."""


class ItemFilterQuery(InputModel):
    """Which items are wanted."""

    status: ItemStatus | None = Field(
        None, description="Only items of this status.", examples=["active"]
    )
    q: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        pattern=VISIBLE_LINE,
        description="Text that the title or the description contains, in any case.",
        examples=["bernoulli"],
    )
    created_from: Moment | None = Field(
        None,
        description="Only items created at this moment or later.",
        examples=["2026-11-01T00:00:00Z"],
    )
    created_before: Moment | None = Field(
        None,
        description="Only items created earlier than this moment.",
        examples=["2026-12-01T00:00:00Z"],
    )

    @model_validator(mode="after")
    def _period_is_not_empty(self) -> Self:
        if self.created_from and self.created_before and self.created_from >= self.created_before:
            raise PydanticCustomError("empty_period", "created_from must be before created_before")
        return self

    def wanted(self) -> ItemFilter:
        """Return which items are wanted, in the words of the domain."""
        return ItemFilter(
            status=self.status,
            search=self.q or None,
            created_from=self.created_from,
            created_before=self.created_before,
        )


class ItemListQuery(ItemFilterQuery, PageQuery):
    """Which items are wanted, and in which order."""

    sort: ItemSort = Field(
        "-created_at",
        description="What to sort by; a minus in front for descending order.",
        examples=["title"],
    )


class ItemExportQuery(ItemFilterQuery):
    """Which items are wanted, and in which format."""

    format: ExportFormat = Field(
        "csv",
        description="CSV for spreadsheets (RFC 4180), NDJSON for programs.",
        examples=["ndjson"],
    )
