"""A resource of the tests' own: infrastructure is tested without those of the application.

Every tested application has its routes, and no document names them. Tests that write or read things
create the table first, by `CREATE_TABLE`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from polyfactory import Use
from pydantic import Field
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import CreateTable

from app.api.deps.common import ReadSessionDep, SessionDep, SnapshotDep
from app.api.deps.idempotency import IdempotencyDep
from app.api.deps.users import CurrentUser
from app.core.ids import new_id
from app.infrastructure.database import Session
from app.infrastructure.database.models import Base
from app.infrastructure.database.repository import table_of
from app.infrastructure.http.routes import FeatureRouter, location_of, tag_of
from app.infrastructure.http.schemas import InputModel
from app.infrastructure.http.streaming import ExportFormat, export
from tests.support.factories import RowFactory
from tests.support.models import OWN

THINGS = "/api/v1/things"
EXPORT = f"{THINGS}/export"
COLUMNS = ("id", "title")

router = FeatureRouter(prefix=THINGS, tags=["things"])


class Thing(Base):
    """A thing of a user."""

    __tablename__ = "things"
    metadata = OWN

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner_id: Mapped[UUID]
    title: Mapped[str]


class ThingFactory(RowFactory[Thing]):
    id = Use(new_id)
    title = "A"


ENDLESS = text("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT count(*) FROM n")
CREATE_TABLE = CreateTable(table_of(Thing))


class NewThing(InputModel):
    """The body of a new thing."""

    title: Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class ReadThing:
    """A thing, as it is read."""

    id: UUID
    title: str


@dataclass(frozen=True, slots=True)
class Things:
    """Stores things."""

    session: Session

    async def create(self, owner_id: UUID, title: str) -> Thing:
        thing = Thing(owner_id=owner_id, title=title)
        self.session.add(thing)
        await self.session.flush()
        return thing


async def get_things(session: SessionDep) -> Things:
    return Things(session)


@router.post("", status_code=201, include_in_schema=False)
async def create_thing(
    request: Request,
    owner: CurrentUser,
    _: IdempotencyDep,
    body: NewThing,
    things: Annotated[Things, Depends(get_things)],
    response: Response,
) -> dict[str, str]:
    thing = await things.create(owner.id, body.title)
    response.headers["Location"] = location_of(request, thing.id)
    response.headers["ETag"] = tag_of(1)
    return {"id": str(thing.id), "title": thing.title}


@router.get("/endless", include_in_schema=False)
async def search_endlessly(_: CurrentUser, reader: ReadSessionDep) -> None:
    await reader.execute(ENDLESS)


@router.api_route(
    "/export",
    methods=["GET", "HEAD"],
    response_class=StreamingResponse,
    include_in_schema=False,
)
async def export_things(
    request: Request, owner: CurrentUser, snapshot: SnapshotDep, chosen: ExportFormat = "csv"
) -> StreamingResponse:
    batches = things_of(owner.id, snapshot)
    return await export(request, batches, name="things", columns=COLUMNS, chosen=chosen)


async def things_of(owner_id: UUID, connection: AsyncConnection) -> AsyncIterator[list[ReadThing]]:
    """Yield the things of an owner in batches."""
    statement = select(Thing.id, Thing.title).where(Thing.owner_id == owner_id).order_by(Thing.id)
    result = await connection.stream(statement, execution_options={"yield_per": 50})
    async for rows in result.partitions():
        yield [ReadThing(*row) for row in rows]


def with_things(app: FastAPI) -> FastAPI:
    """Add the routes of things to an application."""
    router.include_in(app, prefix="", dependencies=())
    return app
