"""Dependencies of the API key routes: repositories and services."""

from typing import Annotated

from fastapi import Depends

from app.api.deps.common import ReadSessionDep, ResourcesDep, SessionDep
from app.infrastructure.outbox import Outbox
from app.repositories.api_keys import ApiKeyRepository
from app.resources import Resources
from app.services.api_keys import ApiKeyService


async def get_api_key_repository(session: SessionDep) -> ApiKeyRepository:
    """Return the repository in the request's transaction."""
    return ApiKeyRepository(session)


async def get_api_key_reader(session: ReadSessionDep) -> ApiKeyRepository:
    """Return the repository for reading."""
    return ApiKeyRepository(session)


def api_key_service(resources: Resources, keys: ApiKeyRepository) -> ApiKeyService:
    """Return the service on a repository."""
    settings, outbox = resources.settings, Outbox(keys.session, resources.relay.wake)
    return ApiKeyService(keys, outbox, settings.quotas.api_keys, settings.auth.api_key_max_days)


async def get_api_key_service(
    resources: ResourcesDep, keys: Annotated[ApiKeyRepository, Depends(get_api_key_repository)]
) -> ApiKeyService:
    """Return the service for writing."""
    return api_key_service(resources, keys)


async def get_api_key_queries(
    resources: ResourcesDep, keys: Annotated[ApiKeyRepository, Depends(get_api_key_reader)]
) -> ApiKeyService:
    """Return the service for reading."""
    return api_key_service(resources, keys)


ApiKeyServiceDep = Annotated[ApiKeyService, Depends(get_api_key_service)]
ApiKeyQueriesDep = Annotated[ApiKeyService, Depends(get_api_key_queries)]
