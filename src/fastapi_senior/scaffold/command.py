"""The command `scaffold`."""

from pathlib import Path
from shlex import quote
from typing import Annotated, Final

import typer

from fastapi_senior import console

app: Final = typer.Typer()


@app.command(no_args_is_help=True)
def scaffold(
    folder: Annotated[Path, typer.Argument(help="Existing folder of a project.", metavar="DIR")],
) -> None:
    """Add the empty layers of a service, `src/app/`, and a contract between them."""
    from fastapi_senior.scaffold.layers import add

    console.apply(add(folder))
    console.say(f"cd {quote(str(folder))}")
    console.say("PYTHONPATH=src uvx --from import-linter lint-imports    # checks the layers")
