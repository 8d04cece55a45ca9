"""Items."""

# {% block imports %}
# {% endblock %}
from typing import Annotated
from uuid import UUID

from fastapi import Path, Request, Response
from fastapi.responses import StreamingResponse

from app.api.deps.common import ExpectedVersions, IfNoneMatch
from app.api.deps.idempotency import IdempotencyDep
from app.api.deps.items import (
    ItemEditor,
    ItemExportDep,
    ItemExportFilterDep,
    ItemListDep,
    ItemQueriesDep,
    ItemServiceDep,
    ItemStatsDep,
    ItemViewer,
)
from app.api.schemas.items import ItemCreate, ItemPage, ItemResponse, ItemStatsResponse, ItemUpdate
from app.core.errors import InvalidInput, PreconditionFailed, SearchTooSlow
from app.domain.items import ITEM_COLUMNS, ItemId, ItemNotFound, TooManyItems
from app.infrastructure.http.problems import problems
from app.infrastructure.http.routes import (
    VERSION,
    VERSION_OR_NOT_MODIFIED,
    FeatureRouter,
    created,
    location_of,
    names_tag,
    replayable,
    tag_of,
)
from app.infrastructure.http.schemas import EXAMPLE_ID
from app.infrastructure.http.streaming import DOCUMENTED, export

router = FeatureRouter(prefix="/items", tags=["items"])

TAG = {
    "name": "items",
    # {% block tag %}
    "description": "The example resource: owned, paged, searched and exported.",
    # {% endblock %}
}

ItemIdPath = Annotated[UUID, Path(description="ID of the item.", examples=[EXAMPLE_ID])]


@router.post(
    "",
    status_code=201,
    summary="Create an item",
    # {% block creation %}
    responses=problems(TooManyItems) | replayable(created("/api/v1/items", versions=True)),
    # {% endblock %}
)
async def create_item(
    request: Request,
    owner: ItemEditor,
    _: IdempotencyDep,
    body: ItemCreate,
    items: ItemServiceDep,
    response: Response,
) -> ItemResponse:
    """Create an item."""
    item = await items.create(owner.id, body.fields())
    response.headers["Location"] = location_of(request, item.id)
    response.headers["ETag"] = tag_of(item.version)
    return ItemResponse.model_validate(item)


# {% block list %}
@router.get(
    "", status_code=200, summary="List items", responses=problems(InvalidInput, SearchTooSlow)
)
# {% endblock %}
async def list_items(owner: ItemViewer, query: ItemListDep, items: ItemQueriesDep) -> ItemPage:
    # {% block listed %}
    """List your items, filtered, searched and sorted.

    # {% endblock %}
    Pages stay consistent while items are added: each starts after the last item of the previous.
    """
    page = await items.list(owner.id, query.to_filter(), query.sort, query.page())
    return ItemPage.model_validate(page)


# {% block stats %}
@router.get("/stats", status_code=200, summary="Count items")
async def get_item_stats(owner: ItemViewer, stats: ItemStatsDep) -> ItemStatsResponse:
    """Count your items by status."""
    return ItemStatsResponse.model_validate(await stats.get(owner.id))


# {% endblock %}
# {% block export %}
@router.get(
    "/export",
    status_code=200,
    summary="Export items",
    response_class=StreamingResponse,
    responses={200: {"description": "The items, oldest first.", **DOCUMENTED}},
)
async def export_items(
    request: Request, owner: ItemViewer, query: ItemExportFilterDep, items: ItemExportDep
) -> StreamingResponse:
    """Export your items, as of the time of the request.

    In CSV, text that a spreadsheet would evaluate as a formula is prefixed with an apostrophe.
    """
    batches = items.export(owner.id, query.to_filter())
    return await export(request, batches, name="items", columns=ITEM_COLUMNS, chosen=query.format)


# {% endblock %}
@router.get(
    "/{item_id}",
    status_code=200,
    summary="Get an item",
    response_model=ItemResponse,
    responses=problems(ItemNotFound) | VERSION_OR_NOT_MODIFIED,
)
async def get_item(
    owner: ItemViewer,
    item_id: ItemIdPath,
    items: ItemQueriesDep,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> ItemResponse | Response:
    """Retrieve one of your items."""
    item = await items.get(owner.id, ItemId(item_id))
    etag = tag_of(item.version)
    if if_none_match is not None and names_tag(if_none_match, etag, weak=True):
        return Response(status_code=304, headers={"ETag": etag})
    response.headers["ETag"] = etag
    return ItemResponse.model_validate(item)


@router.put(
    "/{item_id}",
    status_code=200,
    summary="Replace an item",
    # {% block replacement %}
    responses=problems(ItemNotFound, PreconditionFailed) | VERSION,
    # {% endblock %}
)
async def replace_item(
    owner: ItemEditor,
    item_id: ItemIdPath,
    body: ItemCreate,
    items: ItemServiceDep,
    response: Response,
    expected: ExpectedVersions,
) -> ItemResponse:
    """Replace all fields of one of your items."""
    item = await items.update(owner.id, ItemId(item_id), body.fields(), expected)
    response.headers["ETag"] = tag_of(item.version)
    return ItemResponse.model_validate(item)


@router.patch(
    "/{item_id}",
    status_code=200,
    summary="Update an item",
    # {% block change %}
    responses=problems(ItemNotFound, PreconditionFailed) | VERSION,
    # {% endblock %}
)
async def change_item(
    owner: ItemEditor,
    item_id: ItemIdPath,
    body: ItemUpdate,
    items: ItemServiceDep,
    response: Response,
    expected: ExpectedVersions,
) -> ItemResponse:
    """Update the given fields of one of your items."""
    item = await items.update(owner.id, ItemId(item_id), body.fields(), expected)
    response.headers["ETag"] = tag_of(item.version)
    return ItemResponse.model_validate(item)


@router.delete(
    "/{item_id}",
    status_code=204,
    summary="Delete an item",
    responses=problems(ItemNotFound, PreconditionFailed),
)
async def delete_item(
    owner: ItemEditor, item_id: ItemIdPath, items: ItemServiceDep, expected: ExpectedVersions
) -> None:
    """Delete one of your items."""
    await items.delete(owner.id, ItemId(item_id), expected)
