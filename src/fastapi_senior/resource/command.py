"""The commands `resource NAME` and `resource remove NAME`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from fastapi_senior import console
from fastapi_senior.errors import Refused

if TYPE_CHECKING:
    from fastapi_senior.changes import Changes

_ADD: Final = "add"
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the changes only.")]


class _Group(TyperGroup):
    """Takes everything but `remove NAME` for the arguments of the command that adds a resource."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - of Typer's click
        given = args if args[:1] == ["remove"] else [_ADD, *args]
        return super().parse_args(ctx, given)

    def resolve_command(
        self,
        ctx: Any,  # noqa: ANN401
        args: list[str],
    ) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return ("" if name == _ADD else name), command, rest  # the usage has no `add`


app: Final = typer.Typer(name="resource", cls=_Group, help="Add a resource, or remove one.")


def _names(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


@app.command(_ADD, no_args_is_help=True)
def add(
    name: Annotated[
        str | None,
        typer.Argument(help="Plural of the resource, such as `invoices`.", metavar="NAME"),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Argument(help="`NAME[:TYPE][:MODIFIER]…[=DEFAULT]`", metavar="FIELD…"),
    ] = None,
    *,
    singular: Annotated[str | None, typer.Option(help="Singular, if it can't be derived.")] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public/--owned",
            help="Everybody reads them, without a token, or (the default) their owner.",
        ),
    ] = False,
    search: Annotated[str, typer.Option(help="Fields that `q` finds text in.")] = "",
    sort: Annotated[str, typer.Option(help="Fields that lists sort by.")] = "",
    filter_: Annotated[str, typer.Option("--filter", help="Fields that lists filter by.")] = "",
    count_by: Annotated[str | None, typer.Option(help="Field that `/stats` counts by.")] = None,
    export: Annotated[
        bool, typer.Option("--export", help="Add an export as CSV and NDJSON.")
    ] = False,
    export_job: Annotated[
        bool, typer.Option("--export-job", help="Add an export by a job.")
    ] = False,
    tests: Annotated[bool, typer.Option("--tests/--no-tests", help="Write tests.")] = True,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="YAML file with all of this.", metavar="FILE"),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Add a resource to the project: table, migration, routes, tests.

    `resource remove NAME` removes it.
    """
    from dataclasses import replace

    from fastapi_senior.project import Project
    from fastapi_senior.resource import curl
    from fastapi_senior.resource.document import load
    from fastapi_senior.resource.generation import generate
    from fastapi_senior.resource.names import Names
    from fastapi_senior.resource.specification import Specification, parse_field

    given = (name, fields, singular, public, search, sort, filter_, count_by, export, export_job)
    if from_ is not None and any(given):
        raise Refused("With `--from`, name, fields and options stand in the file alone.")
    project = Project.find(Path.cwd())
    if from_ is not None:
        found = replace(load(from_, project.tables), tests=tests)
    elif name is None:
        raise Refused("Name the resource, as in `invoices total:decimal`, or pass `--from FILE`.")
    else:
        names = Names.of(name, singular)
        known = [*project.tables, names.plural]
        found = Specification(
            names,
            tuple(parse_field(each, known) for each in fields or ()),
            owned=not public,
            search=_names(search),
            sort=_names(sort),
            filter=_names(filter_),
            count_by=count_by,
            export=export,
            export_job=export_job,
            tests=tests,
        )
    with console.working(f"Writing {found.names.many}"):
        changes = generate(project, found, datetime.now(UTC))
    if _done(changes, dry_run=dry_run):
        for line in curl.lines(found):
            console.say(line)
        console.say()
        console.say("Next: read the migration, then run `make check`.")


@app.command()
def remove(
    name: Annotated[
        str, typer.Argument(help="Plural of the resource, such as `invoices`.", metavar="NAME")
    ],
    *,
    dry_run: DryRun = False,
) -> None:
    """Remove a resource from the project: its files, registrations and migration."""
    from fastapi_senior.project import Project
    from fastapi_senior.resource.removal import remove as removed

    changes, lines = removed(Project.find(Path.cwd()), name)
    if _done(changes, dry_run=dry_run):
        for line in lines:
            console.say(line)
        console.say()
        console.say("Next: run `make check`.")


def _done(changes: "Changes", *, dry_run: bool) -> bool:
    """Apply changes and print their files, or print their diff only."""
    if dry_run:
        console.say(changes.diff())
        return False
    changes.require_committed()
    console.apply(changes)
    return True
