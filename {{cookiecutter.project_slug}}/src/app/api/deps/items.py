"""Dependencies of the item routes: repositories, services, permissions."""

# {% block imports %}
# {% endblock %}
from typing import Annotated

from fastapi import Depends, Query, Security
from starlette.requests import HTTPConnection

from app.api.deps.auth import get_principal
from app.api.deps.common import ReadSessionDep, ResourcesDep, SessionDep, SnapshotDep, resources_of
from app.api.schemas.items import ItemExportQuery, ItemListQuery
from app.core.errors import DatabaseUnavailable
from app.domain.auth import Principal
from app.infrastructure.http.problems import raises
from app.repositories.items import ItemRepository
from app.resources import Resources
from app.services.items import ItemService, ItemStatsService

# {% block viewer %}
ItemViewer = Annotated[Principal, Security(get_principal, scopes=["items:read"])]
# {% endblock %}
ItemEditor = Annotated[Principal, Security(get_principal, scopes=["items:write"])]
ItemListDep = Annotated[ItemListQuery, Query()]
# {% block export_query %}
ItemExportFilterDep = Annotated[ItemExportQuery, Query()]
# {% endblock %}


def item_service(resources: Resources, items: ItemRepository) -> ItemService:
    """Return the service on a repository."""
    # {% block service %}
    return ItemService(items, resources.events, resources.cache, resources.settings.quotas.items)
    # {% endblock %}


async def get_item_repository(session: SessionDep) -> ItemRepository:
    """Return the repository in the request's transaction."""
    return ItemRepository(session)


async def get_item_reader(session: ReadSessionDep) -> ItemRepository:
    """Return the repository for reading."""
    return ItemRepository(session)


async def get_item_service(
    connection: HTTPConnection, items: Annotated[ItemRepository, Depends(get_item_repository)]
) -> ItemService:
    """Return the service for writing."""
    return item_service(resources_of(connection), items)


# {% block limit %}
# {% endblock %}
async def get_item_queries(
    connection: HTTPConnection, items: Annotated[ItemRepository, Depends(get_item_reader)]
) -> ItemService:
    """Return the service for reading."""
    # {% block limited %}
    # {% endblock %}
    return item_service(resources_of(connection), items)


# {% block export %}
async def get_item_export(resources: ResourcesDep, snapshot: SnapshotDep) -> ItemService:
    """Return the service for exports, on a snapshot that outlives the route."""
    return item_service(resources, ItemRepository(snapshot))


# {% endblock %}
# {% block stats %}
@raises(DatabaseUnavailable)
async def get_item_stats_service(resources: ResourcesDep) -> ItemStatsService:
    """Return the service of statistics, which needs a connection only if they are not cached."""
    return ItemStatsService(resources.database, resources.cache)


# {% endblock %}
ItemServiceDep = Annotated[ItemService, Depends(get_item_service)]
ItemQueriesDep = Annotated[ItemService, Depends(get_item_queries)]
# {% block aliases %}
ItemStatsDep = Annotated[ItemStatsService, Depends(get_item_stats_service)]
ItemExportDep = Annotated[ItemService, Depends(get_item_export)]
# {% endblock %}
