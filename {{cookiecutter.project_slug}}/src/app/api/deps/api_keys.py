"""Dependencies of the API key routes: repositories and services."""

from typing import Annotated

from fastapi import Depends

from app.api.deps.common import ReadSessionDep, SessionDep, SettingsDep
from app.repositories.api_keys import ApiKeyRepository
from app.services.api_keys import ApiKeyService


async def get_api_key_repository(session: SessionDep) -> ApiKeyRepository:
    """Return the repository in the request's transaction."""
    return ApiKeyRepository(session)


async def get_api_key_reader(session: ReadSessionDep) -> ApiKeyRepository:
    """Return the repository for reading."""
    return ApiKeyRepository(session)


async def get_api_key_service(
    keys: Annotated[ApiKeyRepository, Depends(get_api_key_repository)], settings: SettingsDep
) -> ApiKeyService:
    """Return the service for writing."""
    return ApiKeyService(keys, settings.quotas.api_keys)


async def get_api_key_queries(
    keys: Annotated[ApiKeyRepository, Depends(get_api_key_reader)], settings: SettingsDep
) -> ApiKeyService:
    """Return the service for reading."""
    return ApiKeyService(keys, settings.quotas.api_keys)


ApiKeyServiceDep = Annotated[ApiKeyService, Depends(get_api_key_service)]
ApiKeyQueriesDep = Annotated[ApiKeyService, Depends(get_api_key_queries)]
