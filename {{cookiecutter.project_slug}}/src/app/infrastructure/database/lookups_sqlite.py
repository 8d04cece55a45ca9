"""Reads by a short way: one step out of the event loop and back for the whole of it.

What `AsyncConnection` does in four steps, to open, run, read and close, takes one here. The
statement is put together once, so that SQLAlchemy finds at once what it has compiled.
"""

from collections.abc import Sequence

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from app.infrastructure.database.dialect import READ_OPTIONS
from app.infrastructure.database.statements import Row, Statement, Values
from app.infrastructure.database.statistics import StatementLog


class DirectLookups:
    """Runs statements on connections of an engine's pool.

    Args:
        engine: Whose connections; it counts its statements itself.
        log: Of no use here, for that reason.
    """

    def __init__(self, engine: AsyncEngine, log: StatementLog) -> None:
        del log
        self._engine = engine.sync_engine.execution_options(**READ_OPTIONS)
        self._selects: dict[Statement, Select[tuple[object, ...]]] = {}

    async def fetch(self, statement: Statement, values: Values) -> Sequence[Row]:
        """Return the rows that a statement selects, as of this moment.

        Raises:
            DatabaseUnavailable: The database can't be reached or did not answer in time.
        """
        select = self._selects.get(statement)
        if select is None:
            select = self._selects[statement] = statement.select()
        return await greenlet_spawn(self._run, select, values)

    def _run(self, select: Select[tuple[object, ...]], values: Values) -> Sequence[Row]:
        with self._engine.connect() as connection:
            return connection.execute(select, values).all()
