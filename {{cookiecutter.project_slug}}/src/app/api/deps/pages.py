"""Query parameters of lists, one model each: unknown parameters are refused."""

from typing import Annotated

from fastapi import Query

from app.api.schemas.items import ItemExportQuery, ItemListQuery
from app.api.schemas.users import UserListQuery
from app.infrastructure.http.schemas import PageQuery

PageDep = Annotated[PageQuery, Query()]
UserListDep = Annotated[UserListQuery, Query()]
ItemListDep = Annotated[ItemListQuery, Query()]
ItemExportFilterDep = Annotated[ItemExportQuery, Query()]
