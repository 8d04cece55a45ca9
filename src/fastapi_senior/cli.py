"""The program `fastapi-senior`: a module per command."""

import sys
from typing import Final

import typer

from fastapi_senior import console
from fastapi_senior.endpoint import command as endpoint
from fastapi_senior.errors import Refused
from fastapi_senior.init import command as init
from fastapi_senior.resource import command as resource
from fastapi_senior.scaffold import command as scaffold

app: Final = typer.Typer(
    name="fastapi-senior",
    help="Commands for services made from the template fastapi-senior.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (init, scaffold, resource, endpoint):
    app.add_typer(command.app)


def main() -> None:
    """Run the program; a refusal is a sentence and exit code 1."""
    try:
        app()
    except Refused as error:
        console.refuse(str(error))
        sys.exit(1)
