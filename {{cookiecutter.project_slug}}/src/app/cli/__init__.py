"""The command line: `app`."""

from importlib import import_module
from typing import Any, Final

import typer
from typer.main import get_group

from app.cli.output import Commands

COMMANDS: Final = {
    "dev": "development.dev",
    "serve": "serve.serve",
    "migrate": "migrate.app",
    "create-admin": "accounts.create_admin",
    "keys": "keys.app",
    "openapi": "document.openapi",
    "prune": "maintenance.prune",
    # {% if cookiecutter.use_arq %}
    "worker": "worker.app",
    # {% endif %}
}
"""Where each command is: its module in this package, and its function or group there."""


class Program(Commands):
    """All commands. What one of them stands on is imported when somebody asks for it."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names of all commands, in the order in which help shows them."""
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]  # noqa: ANN401
        """Return a command by its name, or nothing if there is none."""
        # Whoever mistypes is told of commands whose names are similar: of those that are there.
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.add_command(_imported(name), name)
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    rich_markup_mode=None,
    # A traceback with the values of variables would show secrets.
    pretty_exceptions_enable=False,
)


@app.callback()
def program() -> None:
    """The service and everything around it.

    Each command explains itself: app COMMAND --help
    """


def main() -> None:
    """Run a command; the entry point of the installed program."""
    app()


def _imported(name: str) -> Any:  # noqa: ANN401 - the type is Typer's own
    module, _, attribute = COMMANDS[name].partition(".")
    found = getattr(import_module(f"app.cli.{module}"), attribute)
    holder = typer.Typer(rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    return get_group(holder).commands[name]
