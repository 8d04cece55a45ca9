"""`app keys`: the keys that sign access tokens."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from app.cli.runtime import CommandFailed, echo_status, writing

if TYPE_CHECKING:
    from app.core.security.keys import SigningKeys

STANDARD: Final = Path("-")

app = typer.Typer(
    help="""Create and rotate the keys that sign access tokens.

    To rotate without logouts: add a key, deploy it everywhere, promote it, deploy again, and remove
    the old one once its last token has expired.

    Example: app keys add""",
    no_args_is_help=True,
    rich_markup_mode=None,
)

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        help="Key file; - reads stdin and writes stdout."
        " [default: APP_AUTH__SIGNING_KEYS_FILE, or the file of development]",
    ),
]
Kid = Annotated[str, typer.Argument(metavar="KID", help="ID of the key, as in `list`.")]


@app.command()
def generate(
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Output file (default: stdout).")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace existing keys: their tokens become invalid.")
    ] = False,
) -> None:
    """Create a key set with one key.

    Example: app keys generate --file signing-keys.json
    """
    from app.core.security.keys import SigningKeys

    path = file or STANDARD
    if path != STANDARD and path.exists() and not force:
        raise CommandFailed(
            f"{path} already exists; replacing its keys invalidates their tokens. Use"
            " `app keys add` to rotate, or --force."
        )
    _write(SigningKeys.generate(), path)
    if path != STANDARD:
        echo_status(f"Wrote {path}.")


@app.command()
def add(*, file: KeyFile = None) -> None:
    """Add a key that is published and accepted but does not sign yet.

    Example: app keys add
    """
    path = _file(file)
    keys = _read(path).add()
    _write(keys, path)
    new = keys.kids[-1]
    echo_status(f"Added {new}. Deploy it everywhere, then run: app keys promote {new}")


@app.command()
def promote(kid: Kid, *, file: KeyFile = None) -> None:
    """Sign with a key from now on; the others still verify.

    Example: app keys promote NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs
    """
    path = _file(file)
    _write(_read(path).promote(kid), path)
    echo_status(f"{kid} signs now. Remove the previous key once its last token has expired.")


@app.command()
def remove(kid: Kid, *, file: KeyFile = None) -> None:
    """Remove a key; its tokens become invalid.

    Example: app keys remove NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs
    """
    path = _file(file)
    _write(_read(path).remove(kid), path)
    echo_status(f"Removed {kid}.")


@app.command("list")
def show(*, file: KeyFile = None) -> None:
    """List the ids of the keys; the first one signs.

    Example: app keys list
    """
    signing, *others = _read(_file(file)).kids
    typer.echo(f"{signing}  signs and verifies")
    for kid in others:
        typer.echo(f"{kid}  verifies")


def _file(file: Path | None) -> Path:
    """Return the given key file, or the configured one."""
    from app.config import load_settings
    from app.core.security.keys import DEVELOPMENT_KEYS

    if file:
        return file
    settings = load_settings()
    if settings.auth.signing_keys_file:
        return settings.auth.signing_keys_file
    if settings.environment == "development" and settings.auth.signing_keys is None:
        return DEVELOPMENT_KEYS
    raise CommandFailed("The keys are not in a file: pass one with --file, or pipe to --file -.")


def _read(file: Path) -> "SigningKeys":
    from app.core.security.keys import SigningKeys

    try:
        return SigningKeys.from_json(sys.stdin.read() if file == STANDARD else file.read_text())
    except OSError as error:
        raise CommandFailed(f"{file} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise CommandFailed(f"{file} {error}.") from error


def _write(keys: "SigningKeys", file: Path) -> None:
    from app.core.security.keys import write_private

    if file == STANDARD:
        typer.echo(keys.to_json())
    else:
        with writing(file):
            write_private(file, keys.to_json())
