"""One alias per service."""

from typing import Annotated

from fastapi import Depends

from app import wiring
from app.api.deps.database import SessionDep, SnapshotDep
from app.api.deps.inline import on_loop
from app.api.deps.resources import ResourcesDep
from app.core.errors import DatabaseUnavailable
from app.infrastructure.http.problems import raises
from app.services.api_keys import ApiKeyQueries, ApiKeyService
from app.services.auth import AuthService
from app.services.authentication import Authenticator
from app.services.items import ItemQueries, ItemService
from app.services.users import UserQueries, UserService


@on_loop
@raises(DatabaseUnavailable)
def get_authenticator(resources: ResourcesDep) -> Authenticator:
    """Return what turns bearer tokens into principals; stands on the resources."""
    return wiring.authenticator(resources)


@on_loop
@raises(DatabaseUnavailable)
def get_auth_service(resources: ResourcesDep) -> AuthService:
    """Return what logs in and out; stands on the resources, for it opens its own transactions."""
    return wiring.auth_service(resources)


@on_loop
@raises(DatabaseUnavailable)
def get_user_queries(resources: ResourcesDep) -> UserQueries:
    """Return what reads users; stands on the resources, for each read stands by itself."""
    return wiring.user_queries(resources.database)


@on_loop
def get_user_service(resources: ResourcesDep, session: SessionDep) -> UserService:
    """Return what changes users; stands on the request's session."""
    return wiring.user_service(resources, session)


@on_loop
@raises(DatabaseUnavailable)
def get_api_key_queries(resources: ResourcesDep) -> ApiKeyQueries:
    """Return what reads API keys; stands on the resources, for each read stands by itself."""
    return wiring.api_key_queries(resources.database)


@on_loop
def get_api_key_service(resources: ResourcesDep, session: SessionDep) -> ApiKeyService:
    """Return what makes and revokes API keys; stands on the request's session."""
    return wiring.api_key_service(resources, session)


@on_loop
@raises(DatabaseUnavailable)
def get_item_queries(resources: ResourcesDep) -> ItemQueries:
    """Return what reads items; stands on the resources, for each read stands by itself."""
    return wiring.item_queries(resources.database)


@on_loop
def get_item_export(connection: SnapshotDep) -> ItemQueries:
    """Return what exports items; stands on a snapshot, for it outlives the route."""
    return wiring.item_queries(connection)


@on_loop
def get_item_service(resources: ResourcesDep, session: SessionDep) -> ItemService:
    """Return what changes items; stands on the resources and the request's session."""
    return wiring.item_service(resources, session)


AuthenticatorDep = Annotated[Authenticator, Depends(get_authenticator)]
AuthServiceDep = Annotated[AuthService, Depends(get_auth_service)]
UserQueriesDep = Annotated[UserQueries, Depends(get_user_queries)]
UserServiceDep = Annotated[UserService, Depends(get_user_service)]
ApiKeyQueriesDep = Annotated[ApiKeyQueries, Depends(get_api_key_queries)]
ApiKeyServiceDep = Annotated[ApiKeyService, Depends(get_api_key_service)]
ItemQueriesDep = Annotated[ItemQueries, Depends(get_item_queries)]
ItemExportDep = Annotated[ItemQueries, Depends(get_item_export)]
ItemServiceDep = Annotated[ItemService, Depends(get_item_service)]
