"""The command `init`."""

import sys
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from fastapi_senior import console
from fastapi_senior.errors import Refused

app: Final = typer.Typer()


@app.command(no_args_is_help=True)
def init(
    name: Annotated[
        str,
        typer.Argument(
            help="New or empty folder, such as `my_api` or `services/orders`; or a title, such as "
            "`'Order Desk'`."
        ),
    ],
    *,
    db: Annotated[
        str | None, typer.Option(help="`postgres` (default) or `sqlite`.", metavar="DATABASE")
    ] = None,
    cache: Annotated[
        Literal["redis", "none"] | None, typer.Option(help="Cache and shared rate limits.")
    ] = None,
    jobs: Annotated[
        Literal["arq", "none"] | None, typer.Option(help="Background jobs; need `--cache redis`.")
    ] = None,
    websockets: Annotated[
        bool | None, typer.Option("--websockets/--no-websockets", help="Live events.")
    ] = None,
    files: Annotated[Literal["s3", "none"] | None, typer.Option(help="File uploads.")] = None,
    python: Annotated[
        str | None,
        typer.Option(help="Of image and pipeline: `3.13`, `3.12` or `3.11`.", metavar="VERSION"),
    ] = None,
    ci: Annotated[
        str | None, typer.Option(help="Pipeline: `github`, `gitlab` or `none`.", metavar="CI")
    ] = None,
    license_: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="`MIT`, `Apache-2.0`, `BSD-3-Clause` or `Proprietary`.",
            metavar="LICENSE",
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the API.")] = None,
    description: Annotated[str | None, typer.Option(help="One line.")] = None,
    author_name: Annotated[str | None, typer.Option(help="Author or team.")] = None,
    author_email: Annotated[str | None, typer.Option(help="E-mail address of the author.")] = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Ask nothing without options, either.")
    ] = False,
) -> None:
    """Make a project from the template. Without options, ask for them."""
    from fastapi_senior.init.generation import answer, generate

    if not name.strip():
        raise Refused("The name is empty. Pass a folder, such as `my_api`.")
    given = {
        "database": {"postgres": "postgresql"}.get(db, db) if db else None,
        "use_redis": _chosen(cache),
        "use_arq": _chosen(jobs),
        "use_websockets": websockets,
        "use_s3": _chosen(files),
        "python_version": python,
        "ci": ci,
        "license": license_,
        "project_name": title,
        "description": description,
        "author_name": author_name,
        "author_email": author_email,
    }
    known = {question: value for question, value in given.items() if value is not None}
    ask = not known and not defaults and sys.stdin.isatty()
    folder = Path(name)
    answers = answer({"project_name": _title(folder)} | known, ask=ask)
    if " " in folder.name:
        folder = folder.with_name(str(answers["project_slug"]))
    with console.working(f"Writing {folder}"):
        steps = generate(folder, answers)
    for line in steps:
        console.say(line)


def _chosen(option: str | None) -> bool | None:
    return None if option is None else option != "none"


def _title(folder: Path) -> str:
    """Return `My Api` for `services/my_api`."""
    words = folder.resolve().name.replace("_", " ").replace("-", " ").split()
    return " ".join(word[0].upper() + word[1:] for word in words)
