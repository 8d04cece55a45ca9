"""The command `endpoint`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from fastapi_senior import console

app: Final = typer.Typer()


@app.command(no_args_is_help=True)
def endpoint(
    operation: Annotated[
        str | None, typer.Argument(help="Method and path.", metavar="SPEC", show_default=False)
    ] = None,
    *,
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input", help="Field of the request; repeat it.", metavar="NAME[:TYPE][:optional]"
        ),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            help="Field of the response, repeated, or a response model; default: the row.",
            metavar="NAME[:TYPE]|MODEL",
        ),
    ] = None,
    requires_auth: Annotated[
        bool, typer.Option(help="Require a permission of the resource.")
    ] = True,
    requires_database: Annotated[bool, typer.Option(help="Read or write rows.")] = True,
    requires_tests: Annotated[
        bool, typer.Option(help="Write a test for each documented status.")
    ] = True,
    name: Annotated[
        str | None, typer.Option(help="Name of the function, if not `send_invoice`.")
    ] = None,
    summary: Annotated[str | None, typer.Option(help="Summary in the API reference.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--from", help="YAML file with the options as keys.", metavar="FILE"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the changes only.")] = False,
) -> None:
    """Add an operation to a resource: schemas, route, service method, tests.

    SPEC is a method and a path, of a row or of the collection:

    - `"POST /invoices/{invoice_id}/send" --input status` sets fields of a row
    - `"GET /invoices/{invoice_id}/totals" --output number --output total` reads some
    - `"PUT /invoices/{invoice_id}/status" --input status` replaces some; PATCH, the given ones
    - `"POST /invoices/import" --input number --input total` creates a row

    Fields are those of the resource, with its types and bounds. As a file:

        method: POST
        path: /invoices/{invoice_id}/send
        input: [status, due:optional]
        output: [number, status]
        requires_auth: true
    """
    from fastapi_senior.endpoint import specification
    from fastapi_senior.endpoint.generation import curl, generate
    from fastapi_senior.errors import Refused
    from fastapi_senior.project import Project

    if (operation is None) is (file is None) or (file and (input_ or output or name or summary)):
        raise Refused('Pass an operation, such as "POST /invoices/{invoice_id}/send", or `--from`.')
    if file is not None:
        found = specification.read(file)
    else:
        found = specification.parse(
            operation or "",
            input_ or (),
            output or (),
            auth=requires_auth,
            database=requires_database,
            tests=requires_tests,
            name=name,
            summary=summary,
        )
    changes = generate(Project.find(Path.cwd()), found)
    if dry_run:
        console.say(changes.diff())
        return
    changes.require_committed()
    edited = changes.edited
    changes.apply()
    for path in edited:
        console.say(f"edited  {path}", "yellow")
    console.say()
    console.say(curl(found))
    console.say()
    console.say("Next: add the rules to the service's method, then run `make check`.")
    if not found.tests:
        console.say("Each documented status needs a test, or `make check` fails.")
