"""Requests and responses about items."""

from typing import Annotated, Self, cast

from pydantic import MISSING, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from app.domain.items import (
    ExportFormat,
    ItemFields,
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
    ResponseModel,
)

Title = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=VISIBLE_LINE),
    Field(description="Title.", examples=["Bernoulli numbers"]),
]
Description = Annotated[
    str,
    StringConstraints(max_length=10_000, pattern=TEXT),
    Field(description="Description.", examples=["Note G, with a table."]),
]
Status = Annotated[ItemStatus, Field(description="Workflow status.", examples=["active"])]


class ItemCreate(InputModel):
    """All fields of an item."""

    title: Title
    description: Description = ""
    status: Status = "draft"

    def fields(self) -> ItemFields:
        """Return the fields."""
        return cast("ItemFields", self.model_dump())


class ItemUpdate(InputModel):
    """Fields to update; others keep their values."""

    title: Title | MISSING = MISSING
    description: Description | MISSING = MISSING
    status: Status | MISSING = MISSING

    def fields(self) -> ItemFields:
        """Return the given fields."""
        return cast("ItemFields", self.model_dump())


class ItemResponse(ChangingResourceResponse):
    """An item."""

    title: str = Field(description="Title.", examples=["Bernoulli numbers"])
    description: str = Field(description="Description.", examples=["Note G, with a table."])
    status: ItemStatus = Field(description="Workflow status.", examples=["active"])
    version: int = Field(description="Version number, incremented by each change.", examples=[1])


class ItemStatsResponse(ResponseModel):
    """Number of items by status."""

    draft: int = Field(description="Number of drafts.", examples=[2])
    active: int = Field(description="Number of active items.", examples=[5])
    archived: int = Field(description="Number of archived items.", examples=[1])
    total: int = Field(description="Number of all items.", examples=[8])


class ItemPage(Page[ItemResponse]):
    """A page of items."""


class ItemFilterQuery(InputModel):
    """Filters of a list of items."""

    status: ItemStatus | None = Field(
        None, description="Only items with this status.", examples=["active"]
    )
    q: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        pattern=VISIBLE_LINE,
        description="Text to find in the title or description, ignoring case.",
        examples=["bernoulli"],
    )
    created_from: Moment | None = Field(
        None,
        description="Only items created at this time or later.",
        examples=["2026-11-01T00:00:00Z"],
    )
    created_before: Moment | None = Field(
        None,
        description="Only items created before this time.",
        examples=["2026-12-01T00:00:00Z"],
    )

    @model_validator(mode="after")
    def _period_is_not_empty(self) -> Self:
        if self.created_from and self.created_before and self.created_from >= self.created_before:
            raise PydanticCustomError("empty_period", "created_from must be before created_before")
        return self

    def to_filter(self) -> ItemFilter:
        """Return the conditions."""
        return ItemFilter(
            status=self.status,
            search=self.q or None,
            created_from=self.created_from,
            created_before=self.created_before,
        )


class ItemListQuery(ItemFilterQuery, PageQuery):
    """Filters and order of a list of items."""

    sort: ItemSort = Field(
        "-created_at",
        description="Field to sort by; prefix it with `-` for descending order.",
        examples=["title"],
    )


class ItemExportQuery(ItemFilterQuery):
    """Filters and format of an export."""

    format: ExportFormat = Field(
        "csv",
        description="CSV for spreadsheets (RFC 4180), NDJSON for programs.",
        examples=["ndjson"],
    )
