"""Pages of long lists, by keyset: a page deep in the list costs what the first costs.

A cursor is the sort key and the id of the last row seen. It is opaque to clients, and what comes
back is validated down to the type of its values, so a forged one can only name another position
in a list that its bearer may read anyway.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar
from uuid import UUID

from app.core.errors import FieldError, InvalidInput

T = TypeVar("T")
SortKey = datetime | str

MAX_CURSOR_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list.

    Attributes:
        items: At most as many as were asked for.
        next_cursor: Where the next page starts; `None` at the end.
    """

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which part of a list is wanted.

    Attributes:
        limit: Rows in a page.
        cursor: What the page before gave as `next_cursor`.
    """

    limit: int
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in a sorted list.

    Attributes:
        sort: The order that the position belongs to.
        key: The value sorted by, of the last row seen.
        id: The id of that row, which breaks ties.
    """

    sort: str
    key: SortKey
    id: UUID

    def encode(self) -> str:
        """Return the cursor as text for a URL."""
        key = self.key.isoformat() if isinstance(self.key, datetime) else self.key
        kind = "t" if isinstance(self.key, datetime) else "s"
        # Letters stay as they are: escaped, a long title in some scripts would fit into no query.
        values = [self.sort, kind, key, self.id.hex]
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
        return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str, *, sort: str, kind: type[SortKey]) -> "Cursor":
        """Read a cursor that a client sent back.

        Args:
            text: What the client sent.
            sort: The order that the client asks for now.
            kind: The type of the values sorted by.

        Raises:
            InvalidInput: It is not one of ours, or belongs to another order.
        """
        try:
            values = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            cursor_sort, tag, key, hexadecimal = values
            position = cls(cursor_sort, _key(tag, key), UUID(hex=hexadecimal))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise _invalid("This is not a cursor that a page of this list gave.") from error
        if position.sort != sort or type(position.key) is not kind:
            raise _invalid("This cursor belongs to another sort order; start from the first page.")
        return position


def _key(tag: object, key: object) -> SortKey:
    if not isinstance(key, str) or "\x00" in key:
        raise TypeError(key)
    if tag == "s":
        key.encode()
        return key
    moment = datetime.fromisoformat(key)
    if tag != "t" or moment.utcoffset() is None:
        raise ValueError(tag)
    return moment.astimezone(UTC)


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(FieldError(field="query.cursor", message=message, code="invalid_cursor"))
