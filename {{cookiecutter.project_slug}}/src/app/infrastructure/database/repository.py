"""Base of all repositories."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Generic, TypeVar, cast
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints, TypeAdapter
from pydantic_core import to_json
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CursorResult,
    Integer,
    Numeric,
    Select,
    Table,
    Uuid,
    bindparam,
    delete,
    insert,
    literal,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.types import TypeEngine

from app.core.errors import FieldError, InvalidInput
from app.core.pages import Page, PageRequest
from app.core.security.secrets import decode_base64url
from app.infrastructure.database.database import AfterCommit, Session
from app.infrastructure.database.models import Base

Entity = TypeVar("Entity", bound=Base)
T = TypeVar("T")
SortKey = datetime | date | int | Decimal | str

_POSITIONS: Final[dict[type[SortKey], TypeAdapter[tuple[str, Any, UUID]]]] = {
    datetime: TypeAdapter(tuple[str, AwareDatetime, UUID]),
    date: TypeAdapter(tuple[str, date, UUID]),
    int: TypeAdapter(tuple[str, Annotated[int, Field(ge=-(2**63), lt=2**63)], UUID]),
    Decimal: TypeAdapter(tuple[str, Annotated[Decimal, Field(max_digits=100)], UUID]),
    str: TypeAdapter(tuple[str, Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")], UUID]),
}
"""Contents of a cursor: the order of a list, the key and the id of the last row of a page.

Clients treat it as opaque. A forged one can only point to another position of a list that the
client may read anyway.
"""


_WIDEST: Final[dict[type[SortKey], TypeEngine[Any]]] = {int: BigInteger(), Decimal: Numeric()}


def table_of(model: type[Base]) -> Table:
    """Return the table of a model."""
    return cast("Table", model.__table__)


def columns_of(model: type[Base], read_model: type[Any]) -> list[ColumnElement[Any]]:
    """Return the columns that the fields of a read model are named after."""
    return [table_of(model).c[field.name] for field in fields(read_model)]


def in_orders(statement: Select[Any], model: type[Base], *names: str) -> Mapping[str, Select[Any]]:
    """Return a statement for each sort order: by a column, `-` for descending, then by the id.

    Make them constants: building a statement costs more than running it.
    """
    columns = table_of(model).c
    limited = statement.limit(bindparam("limit", type_=Integer()))
    orders = {}
    for name in names:
        key = columns[name]
        orders[name] = limited.order_by(key, columns.id)
        orders[f"-{name}"] = limited.order_by(key.desc(), columns.id.desc())
    return orders


def insert_within_quota(
    model: type[Base], read_model: type[Any], *names: str
) -> ReturningInsert[*tuple[Any, ...]]:
    """Return an INSERT of a row with the fields, unless its owner has `quota` rows.

    One statement with the check, because creation is frequent. `Repository.insert` runs it.
    """
    table = table_of(model)
    columns = [table.c[name] for name in ("owner_id", *names, "version")]
    quota_is_used = (
        select(literal(1))
        .where(table.c.owner_id == bindparam("new_owner_id"))
        .offset(bindparam("others", type_=Integer()))
        .limit(1)
        .exists()
    )
    values = (bindparam(f"new_{column.name}", type_=column.type) for column in columns)
    return (
        insert(table)
        .from_select(columns, select(*values).where(~quota_is_used))
        .returning(*columns_of(model, read_model))
    )


class Repository(Generic[Entity]):
    """Reads and writes the rows of one model.

    Reading selects columns into read models, and needs `execute` alone, which a connection has as
    well as a session. Writing adds, changes and deletes entities, and needs a session.
    """

    model: type[Entity]

    def __init__(self, session: Session | AsyncConnection) -> None:
        """Write in the transaction of a session, or read on a connection."""
        # A session to mypy, or every repository would have to check which of the two it has.
        self.session = cast("Session", session)

    async def one(
        self,
        statement: Select[Any] | ReturningInsert[*tuple[Any, ...]],
        read_model: Callable[..., T],
        /,
        **values: object,
    ) -> T | None:
        """Return the first row of a statement as a read model."""
        row = (await self.session.execute(statement, values)).first()
        return None if row is None else read_model(*row)

    async def page(
        self,
        statement: Select[Any],
        read_model: Callable[..., T],
        request: PageRequest,
        *,
        sort: str,
        **values: object,
    ) -> Page[T]:
        """Return a page of a list.

        Args:
            statement: The statement of this order, by `in_orders`; filter it as needed.
            read_model: Made of each row; has an `id` and the field of the order.
            request: Limit and cursor.
            sort: Name of the order.
            **values: Parameters of the statement.

        Raises:
            InvalidInput: The cursor belongs to another list.
        """
        name = sort.removeprefix("-")
        if request.cursor is not None:
            columns = table_of(self.model).c
            key = columns[name]
            last_key, last_id = decode_cursor(request.cursor, sort, key.type.python_type)
            position = tuple_(key, columns.id)
            # A number of a forged cursor may exceed the type of the column.
            key_type = _WIDEST.get(type(last_key), key.type)
            last = tuple_(bindparam("last_key", type_=key_type), bindparam("last_id", type_=Uuid()))
            statement = statement.where(position < last if sort != name else position > last)
            values |= {"last_key": last_key, "last_id": last_id}
        # One more row than requested shows whether there is a next page, without counting.
        values["limit"] = request.limit + 1
        rows = [read_model(*row) for row in await self.session.execute(statement, values)]
        if len(rows) <= request.limit:
            return Page(rows, None)
        rows.pop()
        last_row: Any = rows[-1]
        return Page(rows, encode_cursor(sort, getattr(last_row, name), last_row.id))

    async def insert(
        self,
        statement: ReturningInsert[*tuple[Any, ...]],
        read_model: Callable[..., T],
        quota: int,
        /,
        **values: object,
    ) -> T | None:
        """Insert a row by `insert_within_quota`; return `None` if the quota is used.

        A plain INSERT costs less than an entity, whose changes the session tracks.
        """
        parameters = {f"new_{name}": value for name, value in values.items()}
        return await self.one(statement, read_model, **parameters, new_version=1, others=quota - 1)

    async def has(self, count: int, condition: ColumnElement[bool]) -> bool:
        """Return whether at least `count` rows match; stop reading there."""
        last = select(literal(1)).select_from(self.model).where(condition).offset(count - 1)
        return await self.session.scalar(last.limit(1)) is not None

    async def lock(self, entity_id: UUID) -> Entity | None:
        """Return an entity, locked until the transaction ends."""
        return await self.session.get(self.model, entity_id, with_for_update=True)

    async def add(self, entity: Entity) -> None:
        """Insert an entity; like `save`, it raises the error of a violated constraint."""
        self.session.add(entity)
        await self.session.flush()

    async def save(self, entity: Entity, changes: Mapping[str, object]) -> None:
        """Update fields of an entity."""
        for name, value in changes.items():
            setattr(entity, name, value)
        await self.session.flush()

    async def delete(self, entity: Entity) -> None:
        """Delete an entity; rows that belong to it are deleted by cascade."""
        await self.session.delete(entity)
        await self.session.flush()

    def after_commit(self, action: AfterCommit) -> None:
        """Run an action after the commit of the session."""
        self.session.after_commit(action)


def encode_cursor(sort: str, key: SortKey, entity_id: UUID) -> str:
    """Return a cursor as text for a URL."""
    return urlsafe_b64encode(to_json([sort, key, entity_id])).rstrip(b"=").decode()


def decode_cursor(text: str, sort: str, kind: type[SortKey]) -> tuple[SortKey, UUID]:
    """Return the key and the id in a cursor of an order.

    Raises:
        InvalidInput: It is not a cursor of this order.
    """
    message = "This is not a cursor of this list."
    with suppress(ValueError, OverflowError):
        content = decode_base64url(text)
        order, key, entity_id = _POSITIONS[kind].validate_json(content, strict=True)
        if order == sort:
            return key.astimezone(UTC) if isinstance(key, datetime) else key, entity_id
        message = "This cursor belongs to another sort order; start from the first page."
    raise InvalidInput(FieldError("query.cursor", message, "invalid_cursor"))


def read_as(read_model: Callable[..., T], entity: Base) -> T:
    """Return the read model of an entity."""
    names = [field.name for field in fields(cast("Any", read_model))]
    return read_model(*(getattr(entity, name) for name in names))


async def delete_where(session: Session, model: type[Base], condition: ColumnElement[bool]) -> int:
    """Delete rows without loading them, and return their number."""
    result = await session.execute(delete(table_of(model)).where(condition))
    return cast("CursorResult[Any]", result).rowcount
