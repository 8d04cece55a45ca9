"""`app openapi`: what clients are generated from."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import say, writing
from app.config import Settings
from app.main import create_app


def openapi(
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, in place of the screen.")
    ] = None,
) -> None:
    """Print the OpenAPI document. It needs no server, no database and no settings.

    Example: app openapi -o openapi.json
    """
    document = json.dumps(create_app(Settings()).openapi(), indent=2, ensure_ascii=False)
    if output is None:
        typer.echo(document)
    else:
        with writing(output):
            output.write_text(f"{document}\n", encoding="utf-8")
        say(f"Wrote {output}.")
