"""The program `fastapi-senior`: a module per command."""

import sys
from typing import Final

import typer

from fastapi_senior import console
from fastapi_senior.errors import Refused
from fastapi_senior.resource import command as resource

app: Final = typer.Typer(
    name="fastapi-senior",
    help="Commands for services made from the template fastapi-senior.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(resource.app)


def main() -> None:
    """Run the program; a refusal is a sentence and exit code 1."""
    try:
        app()
    except Refused as error:
        console.refuse(str(error))
        sys.exit(1)
