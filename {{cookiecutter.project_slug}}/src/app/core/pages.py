"""Keyset pages: any page of a long list costs as much as the first."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_CURSOR_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of results, with the cursor of the next one."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A limit, and the `next_cursor` of the previous page."""

    limit: int
    cursor: str | None = None
