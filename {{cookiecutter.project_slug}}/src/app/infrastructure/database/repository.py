"""What all repositories share.

A `Reader` selects columns and returns read models: by lookups, on a connection, or inside a
transaction. A `Repository` adds entities, for writing; it needs a session.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Integer,
    Select,
    Table,
    Uuid,
    bindparam,
    tuple_,
)
from sqlalchemy import delete as delete_from
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.pages import Cursor, Page, PageRequest, SortKey
from app.infrastructure.database.models import Base
from app.infrastructure.database.session import Session
from app.infrastructure.database.statements import Lookups, Row, Statement, Values

Entity = TypeVar("Entity", bound=Base)
T = TypeVar("T")

Sorts = Mapping[str, ColumnElement[Any]]
"""The columns that a list can be sorted by, by the names that clients use."""


def table_of(entity: type[Base]) -> Table:
    """Return the table of an entity, for statements that select columns."""
    return cast("Table", entity.__table__)


def columns_of(entity: type[Base], read_model: type[Any]) -> list[ColumnElement[Any]]:
    """Return the columns that a read model is made of, in the order of its fields."""
    return [table_of(entity).c[field.name] for field in fields(read_model)]


class Reader:
    """Reads rows."""

    def __init__(self, source: AsyncConnection | Session | Lookups) -> None:
        """Read through this connection, inside the transaction of this session, or by lookups."""
        self._source = source

    @property
    def _connection(self) -> AsyncConnection | Session:
        """What a stream of rows needs: something that stays open."""
        if not isinstance(self._source, AsyncConnection | Session):
            raise TypeError(f"{type(self).__name__} needs a connection to stream from")
        return self._source

    async def _rows(self, statement: Statement | Select[Any], /, **values: object) -> Sequence[Row]:
        """Return the rows that a statement selects.

        Args:
            statement: A `Statement` on a busy path; what is put together anew costs its time.
            **values: What is bound to its parameters.
        """
        if isinstance(self._source, AsyncConnection | Session):
            return await _executed(self._source, statement, values)
        if isinstance(statement, Statement):
            return await self._source.fetch(statement, values)
        async with self._source.read() as connection:
            return await _executed(connection, statement, values)

    async def _one(
        self,
        statement: Statement | Select[Any],
        read_model: Callable[..., T],
        /,
        **values: object,
    ) -> T | None:
        rows = await self._rows(statement, **values)
        return read_model(*rows[0]) if rows else None

    async def _page(
        self,
        statement: Statement | Select[Any],
        read_model: Callable[..., T],
        page: PageRequest,
        *,
        sort: str,
        sorts: Sorts,
        id_column: ColumnElement[UUID],
        **values: object,
    ) -> Page[T]:
        """Return a page of the rows that a statement selects.

        Args:
            statement: Selects the columns of the read model, filtered.
            read_model: What a row becomes; it has an `id` and the field sorted by.
            page: Which part is wanted.
            sort: A key of `sorts`, with a minus in front for descending order.
            sorts: The columns that can be sorted by.
            id_column: Breaks ties.
            **values: What is bound to the parameters of the statement.

        Raises:
            InvalidInput: The cursor is not one of this list.
        """
        name = sort.removeprefix("-")
        key, descending = sorts[name], sort.startswith("-")
        # One row more than wanted tells whether there is a next page, without counting.
        values["most_rows"] = page.limit + 1
        if page.cursor is not None:
            kind: type[SortKey] = key.type.python_type
            cursor = Cursor.decode(page.cursor, sort=sort, kind=kind)
            values |= {"last_key": cursor.key, "last_id": cursor.id}
        shape = (statement, key, id_column, descending, page.cursor is not None)
        is_kept = isinstance(statement, Statement)
        wanted = Statement(_page_of, shape) if is_kept else _page_of(*shape)
        rows = [read_model(*row) for row in await self._rows(wanted, **values)]
        if len(rows) <= page.limit:
            return Page(rows, None)
        rows.pop()
        last_seen: Any = rows[-1]
        next_cursor = Cursor(sort, getattr(last_seen, name), last_seen.id).encode()
        return Page(rows, next_cursor)


class Repository(Reader, Generic[Entity]):
    """Stores entities of one type."""

    entity: type[Entity]

    def __init__(self, session: Session) -> None:
        """Work inside the transaction of this session."""
        super().__init__(session)
        self._session = session

    async def get(self, entity_id: UUID) -> Entity | None:
        """Return the entity of this id, locked until the transaction ends."""
        return await self._session.get(self.entity, entity_id, with_for_update=True)

    async def add(self, entity: Entity) -> Entity:
        """Store a new entity, and return it.

        Raises:
            Conflict: A constraint forbids it.
        """
        self._session.add(entity)
        await self._session.flush()
        return entity

    async def save(self, entity: Entity) -> Entity:
        """Store what was changed of an entity, and return it.

        Raises:
            Conflict: A constraint forbids it.
        """
        await self._session.flush()
        return entity

    async def delete(self, entity: Entity) -> None:
        """Delete an entity, and by cascade what belongs to it."""
        await self._session.delete(entity)
        await self._session.flush()

    async def _delete_where(self, condition: ColumnElement[bool]) -> int:
        """Delete the rows that meet a condition, none of which is loaded; return how many."""
        statement = delete_from(self.entity).where(condition)
        result = await self._session.execute(
            statement, execution_options={"synchronize_session": False}
        )
        return cast("CursorResult[Any]", result).rowcount


async def _executed(
    connection: AsyncConnection | Session, statement: Statement | Select[Any], values: Values
) -> Sequence[Row]:
    select = statement.select() if isinstance(statement, Statement) else statement
    rows: Sequence[Row] = (await connection.execute(select, values)).all()
    return rows


def _page_of(
    statement: Statement | Select[Any],
    key: ColumnElement[Any],
    id_column: ColumnElement[UUID],
    descending: bool,
    continued: bool,
) -> Select[Any]:
    """Select a page in the order of `key`: the first one, or that behind a row seen last."""
    select = statement.select() if isinstance(statement, Statement) else statement
    if continued:
        position = tuple_(key, id_column)
        last = tuple_(bindparam("last_key", type_=key.type), bindparam("last_id", type_=Uuid()))
        select = select.where(position < last if descending else position > last)
    order = (key.desc(), id_column.desc()) if descending else (key, id_column)
    return select.order_by(*order).limit(bindparam("most_rows", type_=Integer()))
