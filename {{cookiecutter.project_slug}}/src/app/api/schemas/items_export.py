"""Schemas of exports of items."""

from pydantic import Field

from app.api.schemas.items import ItemFilterQuery
from app.infrastructure.http.streaming import ExportQuery


class ItemFilterRequest(ItemFilterQuery):
    """Filters; items must match all of them."""


class ItemExportCreate(ExportQuery):
    """An export of items."""

    filter: ItemFilterRequest = Field(
        default_factory=lambda: ItemFilterRequest.model_validate({}),
        description="Filters; all items by default.",
        # {% block example %}
        examples=[{"status": "active"}],
        # {% endblock %}
    )
