"""Reads by the shortest way: a pooled connection, the driver, and nothing in between.

Most requests read a row or a page by a statement that was run before. SQLAlchemy writes its text,
once; from then on it costs a sixth of what `Connection.execute` takes. What belongs to a statement
stays: the pool with its checks, the account of the request, the log of slow ones, the words of the
domain for a database that does not answer.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_, greenlet_spawn

from app.core.errors import DatabaseUnavailable
from app.infrastructure.database.dialect import is_outage
from app.infrastructure.database.statements import Row, Statement, Values
from app.infrastructure.database.statistics import StatementLog

_Process = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement as the driver takes it.

    Attributes:
        text: With numbered parameters.
        names: Those of the parameters, in their order.
        known: What is bound in the statement itself.
        to_driver: What has to be done to values, by the place of their parameter.
        from_driver: What has to be done to columns, by their place.
    """

    text: str
    names: tuple[str, ...]
    known: Values
    to_driver: tuple[tuple[int, _Process], ...]
    from_driver: tuple[tuple[int, _Process], ...]


class DirectLookups:
    """Runs statements on connections of an engine's pool.

    Args:
        engine: Whose connections.
        log: Takes note of each statement.
    """

    def __init__(self, engine: AsyncEngine, log: StatementLog) -> None:
        self._engine = engine.sync_engine
        self._log = log
        self._prepared: dict[Statement, _Prepared] = {}

    async def fetch(self, statement: Statement, values: Values) -> Sequence[Row]:
        """Return the rows that a statement selects, as of this moment.

        Raises:
            DatabaseUnavailable: The database can't be reached or did not answer in time.
        """
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = self._prepared[statement] = self._prepare(statement)
        given = {**prepared.known, **values} if prepared.known else values
        arguments = [given[name] for name in prepared.names]
        for place, process in prepared.to_driver:
            arguments[place] = process(arguments[place])
        rows = await greenlet_spawn(self._run, prepared.text, arguments)
        return _processed(rows, prepared.from_driver) if prepared.from_driver else rows

    def _prepare(self, statement: Statement) -> _Prepared:
        dialect = self._engine.dialect
        select = statement.select()
        # Typed as what all dialects have in common.
        compiled: Any = select.compile(dialect=dialect)
        binds = {name: compiled.binds[name] for name in compiled.positiontup}
        to_driver = [
            each.type.dialect_impl(dialect).bind_processor(dialect) for each in binds.values()
        ]
        from_driver = [
            column.type.dialect_impl(dialect).result_processor(dialect, None)
            for column in select.selected_columns
        ]
        return _Prepared(
            text=compiled.string,
            names=tuple(binds),
            known={name: each.value for name, each in binds.items() if not each.required},
            to_driver=_by_place(to_driver),
            from_driver=_by_place(from_driver),
        )

    def _run(self, text: str, arguments: list[object]) -> Sequence[Row]:
        pooled = self._engine.raw_connection()
        driver: Any = pooled.driver_connection
        started = time.perf_counter()
        try:
            rows: Sequence[Row] = await_(driver.fetch(text, *arguments))
        except asyncpg.PostgresError as error:
            if is_outage(error.sqlstate):
                raise DatabaseUnavailable(reason=type(error).__name__) from error
            raise
        except BaseException as error:
            is_lost = isinstance(error, OSError) or driver.is_closed()
            # An answer may still be on its way, and nobody else must take it for theirs.
            pooled.invalidate(error)
            if is_lost:
                raise DatabaseUnavailable(reason="no answer in time") from error
            raise
        finally:
            self._log.ended(text, time.perf_counter() - started)
            pooled.close()
        return rows


def _by_place(processes: Iterable[_Process | None]) -> tuple[tuple[int, _Process], ...]:
    return tuple((place, each) for place, each in enumerate(processes) if each is not None)


def _processed(rows: Sequence[Row], processes: Iterable[tuple[int, _Process]]) -> Sequence[Row]:
    changed = [list(row) for row in rows]
    for row in changed:
        for place, process in processes:
            row[place] = process(row[place])
    return changed
