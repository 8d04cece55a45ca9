"""The command line: `app`."""

import typer

from app.cli import (
    accounts,
    development,
    document,
    keys,
    maintenance,
    migrate,
    serve,
    # {% if cookiecutter.use_arq %}
    worker,
    # {% endif %}
)
from app.cli.output import Commands

app = typer.Typer(
    cls=Commands,
    help="The service and everything around it. Each command explains itself: app COMMAND --help",
    no_args_is_help=True,
    rich_markup_mode=None,
    # A traceback with the values of variables would show secrets.
    pretty_exceptions_enable=False,
)
app.command("dev")(development.dev)
app.command("serve")(serve.serve)
app.add_typer(migrate.app, name="migrate")
app.command("create-admin")(accounts.create_admin)
app.add_typer(keys.app, name="keys")
app.command("openapi")(document.openapi)
app.command("prune")(maintenance.prune)
# {% if cookiecutter.use_arq %}
app.add_typer(worker.app, name="worker")
# {% endif %}


def main() -> None:
    """Run a command; the entry point of the installed program."""
    app()
