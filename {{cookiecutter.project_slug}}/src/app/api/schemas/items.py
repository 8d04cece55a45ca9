"""Requests and responses about items."""

# {% block imports %}
# {% endblock %}
from typing import Annotated, cast

from pydantic import MISSING, Field, StringConstraints

from app.domain.items import ItemFields, ItemFilter, ItemSort, ItemStatus
from app.infrastructure.http.schemas import (
    TEXT,
    VISIBLE_LINE,
    ChangingResourceResponse,
    CreationQuery,
    InputModel,
    Page,
    PageQuery,
    ResponseModel,
)
from app.infrastructure.http.streaming import ExportQuery

# {% block fields %}
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
# {% endblock %}


class ItemCreate(InputModel):
    """All fields of an item."""

    # {% block create %}
    title: Title
    description: Description = ""
    status: Status = "draft"
    # {% endblock %}

    def fields(self) -> ItemFields:
        """Return the fields."""
        return cast("ItemFields", self.model_dump())


class ItemUpdate(InputModel):
    """Fields to update; others keep their values."""

    # {% block update %}
    title: Title | MISSING = MISSING
    description: Description | MISSING = MISSING
    status: Status | MISSING = MISSING
    # {% endblock %}

    def fields(self) -> ItemFields:
        """Return the given fields."""
        return cast("ItemFields", self.model_dump())


class ItemResponse(ChangingResourceResponse):
    """An item."""

    # {% block response %}
    title: str = Field(description="Title.", examples=["Bernoulli numbers"])
    description: str = Field(description="Description.", examples=["Note G, with a table."])
    status: ItemStatus = Field(description="Workflow status.", examples=["active"])
    # {% endblock %}
    version: int = Field(description="Version number, incremented by each change.", examples=[1])


# {% block stats %}
class ItemStatsResponse(ResponseModel):
    """Number of items by status."""

    draft: int = Field(description="Number of items with the status `draft`.", examples=[2])
    active: int = Field(description="Number of items with the status `active`.", examples=[2])
    archived: int = Field(description="Number of items with the status `archived`.", examples=[2])
    total: int = Field(description="Number of all items.", examples=[6])


# {% endblock %}
class ItemPage(Page[ItemResponse]):
    """A page of items."""


class ItemFilterQuery(CreationQuery):
    """Filters of a list of items."""

    # {% block filters %}
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
    # {% endblock %}

    def to_filter(self) -> ItemFilter:
        """Return the conditions."""
        return ItemFilter(
            # {% block conditions %}
            status=self.status,
            search=self.q or None,
            # {% endblock %}
            created_from=self.created_from,
            created_before=self.created_before,
        )


# {% block export %}
class ItemExportQuery(ItemFilterQuery, ExportQuery):
    """Filters and format of an export."""


# {% endblock %}
class ItemListQuery(ItemFilterQuery, PageQuery):
    """Filters and order of a list of items."""

    sort: ItemSort = Field(
        "-created_at",
        description="Field to sort by; prefix it with `-` for descending order.",
        # {% block sorted %}
        examples=["title"],
        # {% endblock %}
    )
