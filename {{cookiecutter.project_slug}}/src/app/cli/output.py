"""How commands talk to people: results go to standard output, all else to standard error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from app.core.errors import DomainError, OperatorError


class CommandFailed(OperatorError):
    """A command can't do what it was asked to."""


class Commands(TyperGroup):
    """Commands whose expected failures end in a sentence and exit code 1, not in a traceback."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # noqa: ANN401
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except typer.Abort:
            if sys.stdin.isatty():
                raise
            _fail("No answer came: say what was left out by options, which --help shows.")
        except OperatorError as error:
            _fail(str(error))
        except DomainError as error:
            reason = error.context.get("reason")
            _fail(f"{error.detail} ({reason})" if reason else error.detail)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Write to a file in the block.

    Raises:
        CommandFailed: It can't be written.
    """
    try:
        yield
    except OSError as error:
        raise CommandFailed(f"{path} can't be written: {error.strerror}.") from error


def say(text: str) -> None:
    """Tell how it goes."""
    typer.echo(text, err=True)


def _fail(sentence: str) -> None:
    typer.secho(f"Error: {sentence}", err=True, fg=typer.colors.RED)
    raise typer.Exit(1)
