"""Schemas of exports of items."""

from pydantic import Field

from app.api.schemas.items import ItemFilterQuery
from app.domain.items import ExportFormat
from app.infrastructure.http.schemas import InputModel


class ItemFilterRequest(ItemFilterQuery):
    """Filters; items must match all of them."""


class ItemExportCreate(InputModel):
    """An export of items."""

    format: ExportFormat = Field(
        "csv",
        description="CSV for spreadsheets (RFC 4180), NDJSON for programs.",
        examples=["ndjson"],
    )
    filter: ItemFilterRequest = Field(
        default_factory=lambda: ItemFilterRequest.model_validate({}),
        description="Filters; all items by default.",
        examples=[{"status": "active"}],
    )
