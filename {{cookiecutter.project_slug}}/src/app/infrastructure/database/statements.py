"""Statements that are written once and run many times.

To put a `SELECT` together costs more than to run it. So a statement on a busy path is named by what
puts it together and by its shape, and whoever runs it can tell that it has it already. Values are
no part of the shape: they are bound by name, each time.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncConnection

Values = Mapping[str, object]
"""What is bound, by the names of the parameters."""

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """A `SELECT`, before it is put together.

    Attributes:
        build: Puts it together, with a `bindparam` wherever a value goes.
        shape: What `build` is called with. There must be few shapes, for each is remembered.
    """

    build: Callable[..., Select[Any]]
    shape: tuple[Hashable, ...] = ()

    def select(self) -> Select[Any]:
        """Put it together."""
        return self.build(*self.shape)


class Lookups(Protocol):
    """Runs statements for reading, each by itself, outside of any transaction."""

    async def fetch(self, statement: Statement, values: Values) -> Sequence[Row]:
        """Return the rows that a statement selects, by the shortest way there is."""

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Yield a connection, for a statement that is put together anew each time."""
