"""The command line, `app`.

Commands import what they need when they run, so that `app --help` is fast.
"""

import typer

from app.cli import (
    development,
    keys,
    migrate,
    operations,
    runtime,
    # {% if cookiecutter.use_arq %}
    worker,
    # {% endif %}
)

app = typer.Typer(
    cls=runtime.Commands,
    help="""Run and administer the service.

    Run app COMMAND --help for details of a command.""",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # they would print the values of variables
)
app.command()(development.dev)
app.command()(operations.serve)
app.add_typer(migrate.app, name="migrate")
app.command()(operations.create_admin)
app.add_typer(keys.app, name="keys")
app.command()(operations.openapi)
app.command()(operations.prune)
# {% if cookiecutter.use_arq %}
app.add_typer(worker.app, name="worker")
# {% endif %}


def main() -> None:
    """Run a command."""
    app()
