"""API keys, for machines."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Request, Response
from pydantic import MISSING

from app.api.deps.api_keys import ApiKeyQueriesDep, ApiKeyServiceDep
from app.api.deps.auth import AccountOwner, RecentOwner
from app.api.deps.common import AuthRateLimitedByAddress, PageDep
from app.api.schemas.api_keys import ApiKeyCreate, ApiKeyCreatedResponse, ApiKeyPage, ApiKeyResponse
from app.core.errors import InsufficientScope
from app.domain.api_keys import ApiKeyId, ApiKeyNameTaken, ApiKeyNotFound, TooManyApiKeys
from app.infrastructure.http.problems import problems
from app.infrastructure.http.routes import FeatureRouter, created, location_of
from app.infrastructure.http.schemas import EXAMPLE_ID

router = FeatureRouter(prefix="/users/me/api-keys", tags=["api keys"])

TAG = {
    "name": "api keys",
    "description": "API keys for machines, each with its own permissions.",
}


@router.post(
    "",
    status_code=201,
    summary="Create an API key",
    responses=problems(InsufficientScope, ApiKeyNameTaken, TooManyApiKeys)
    | created("/api/v1/users/me/api-keys"),
    dependencies=[AuthRateLimitedByAddress],
)
async def create_api_key(
    request: Request,
    owner: RecentOwner,
    body: ApiKeyCreate,
    keys: ApiKeyServiceDep,
    response: Response,
) -> ApiKeyCreatedResponse:
    """Create a key for a machine. The key is shown only once: store it. Requires a recent login."""
    days = None if body.expires_in_days is MISSING else body.expires_in_days
    new = await keys.create(owner, body.name, frozenset(body.scopes), days)
    response.headers["Location"] = location_of(request, new.api_key.id)
    response.headers["Cache-Control"] = "no-store"
    shown = ApiKeyResponse.model_validate(new.api_key)
    return ApiKeyCreatedResponse(**shown.model_dump(), key=new.key)


@router.get("", status_code=200, summary="List API keys")
async def list_api_keys(owner: AccountOwner, query: PageDep, keys: ApiKeyQueriesDep) -> ApiKeyPage:
    """List your keys, newest first."""
    page = await keys.list(owner.id, query.page())
    return ApiKeyPage.model_validate(page)


@router.delete(
    "/{key_id}", status_code=204, summary="Revoke an API key", responses=problems(ApiKeyNotFound)
)
async def revoke_api_key(
    owner: AccountOwner,
    key_id: Annotated[UUID, Path(description="ID of the API key.", examples=[EXAMPLE_ID])],
    keys: ApiKeyServiceDep,
) -> None:
    """Revoke one of your keys, with immediate effect."""
    await keys.revoke(owner.id, ApiKeyId(key_id))
