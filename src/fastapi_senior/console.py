"""What commands print: results on stdout, progress and refusals on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from fastapi_senior.changes import Changes

_out: Final = Console(highlight=False, soft_wrap=True)
_err: Final = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str = "", style: str = "") -> None:
    """Print a line of the result."""
    _out.print(Text(text, style))


def refuse(text: str) -> None:
    """Print why a command changed nothing."""
    _err.print(Text(text, "red"))


def apply(changes: "Changes") -> None:
    """Apply changes, and print their files.

    Raises:
        Refused: A file can't be written.
    """
    files = [
        *((f"new      {path}", "green") for path in changes.created),
        *((f"edited   {path}", "yellow") for path in changes.edited),
        *((f"deleted  {path}", "red") for path in changes.deleted),
    ]
    changes.apply()
    for line, style in files:
        say(line, style)
    say()


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show on a terminal that something takes a while."""
    with _err.status(Text(text)):
        yield
