"""Items: the example resource."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Request, Response
from fastapi.responses import StreamingResponse

from app.api.deps.auth import ItemEditor, ItemViewer
from app.api.deps.conditions import IfMatch, IfNoneMatch
from app.api.deps.idempotency import IdempotencyDep
from app.api.deps.pages import ItemExportFilterDep, ItemListDep
from app.api.deps.services import ItemExportDep, ItemQueriesDep, ItemServiceDep
from app.api.schemas.items import ItemCreate, ItemPage, ItemResponse, ItemUpdate
from app.core.errors import PreconditionFailed
from app.domain.items import ItemId, ItemNotFound, etag, etag_matches
from app.infrastructure.http.problems import problems
from app.infrastructure.http.responses import (
    VERSION,
    VERSION_OR_NOT_MODIFIED,
    created,
    location_of,
    replayable,
)
from app.infrastructure.http.routing import FeatureRouter
from app.infrastructure.http.schemas import EXAMPLE_ID
from app.infrastructure.http.streaming import DOCUMENTED, Export

router = FeatureRouter(prefix="/items", tags=["items"])

TAG = {
    "name": "items",
    "description": "The example resource: owned, paged, searched and exported.",
}

ItemIdPath = Annotated[UUID, Path(description="Which item.", examples=[EXAMPLE_ID])]


@router.post(
    "",
    status_code=201,
    summary="Create an item",
    responses=replayable(created("/api/v1/items", versions=True)),
)
async def create_item(
    request: Request,
    owner: ItemEditor,
    _: IdempotencyDep,
    body: ItemCreate,
    items: ItemServiceDep,
    response: Response,
) -> ItemResponse:
    """Create an item that is yours."""
    item = await items.create(owner.id, body.content())
    response.headers["Location"] = location_of(request, item.id)
    response.headers["ETag"] = etag(item.version)
    return ItemResponse.model_validate(item)


@router.get("", status_code=200, summary="List items")
async def list_items(owner: ItemViewer, query: ItemListDep, items: ItemQueriesDep) -> ItemPage:
    """List your items, page by page: filtered, searched and sorted.

    Pages stay consistent while items are added: a page starts after the last entry of the one
    before, whatever has happened in between.
    """
    page = await items.page(owner.id, query.wanted(), query.sort, query.page())
    return ItemPage.model_validate(page)


@router.get(
    "/export",
    status_code=200,
    summary="Export items",
    response_class=StreamingResponse,
    responses={200: {"description": "The items, oldest first.", **DOCUMENTED}},
)
async def export_items(
    owner: ItemViewer, query: ItemExportFilterDep, items: ItemExportDep
) -> StreamingResponse:
    """Download all your items as of this moment, however many there are.

    In CSV, text that a spreadsheet would take for a formula has an apostrophe in front.
    """
    return Export(items.export(owner.id, query.wanted()), query.format)


@router.get(
    "/{item_id}",
    status_code=200,
    summary="Read an item",
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
    """Return one of your items."""
    item = await items.one(owner.id, ItemId(item_id))
    tag = etag(item.version)
    if if_none_match is not None and etag_matches(if_none_match, item.version, weak=True):
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return ItemResponse.model_validate(item)


@router.put(
    "/{item_id}",
    status_code=200,
    summary="Replace an item",
    responses=problems(ItemNotFound, PreconditionFailed) | VERSION,
)
async def replace_item(
    owner: ItemEditor,
    item_id: ItemIdPath,
    body: ItemCreate,
    items: ItemServiceDep,
    response: Response,
    if_match: IfMatch = None,
) -> ItemResponse:
    """Replace all of one of your items."""
    item = await items.replace(owner.id, ItemId(item_id), body.content(), if_match)
    response.headers["ETag"] = etag(item.version)
    return ItemResponse.model_validate(item)


@router.patch(
    "/{item_id}",
    status_code=200,
    summary="Change an item",
    responses=problems(ItemNotFound, PreconditionFailed) | VERSION,
)
async def change_item(
    owner: ItemEditor,
    item_id: ItemIdPath,
    body: ItemUpdate,
    items: ItemServiceDep,
    response: Response,
    if_match: IfMatch = None,
) -> ItemResponse:
    """Change some of one of your items. What you leave out stays as it is."""
    item = await items.change(owner.id, ItemId(item_id), body.changes(), if_match)
    response.headers["ETag"] = etag(item.version)
    return ItemResponse.model_validate(item)


@router.delete(
    "/{item_id}",
    status_code=204,
    summary="Delete an item",
    responses=problems(ItemNotFound, PreconditionFailed),
)
async def delete_item(
    owner: ItemEditor, item_id: ItemIdPath, items: ItemServiceDep, if_match: IfMatch = None
) -> None:
    """Delete one of your items."""
    await items.delete(owner.id, ItemId(item_id), if_match)
