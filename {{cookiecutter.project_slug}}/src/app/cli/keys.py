"""`app keys`: what access tokens are signed with."""

import re
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from typer.core import TyperCommand

from app.cli.output import CommandFailed, Commands, say, writing
from app.config import load_settings
from app.core.security.keys import DEVELOPMENT_KEYS, SigningKeys, write_private

STANDARD: Final = Path("-")
_LIKE_AN_OPTION: Final = re.compile(r"-[A-Za-z0-9_-]{42}")

app = typer.Typer(
    cls=Commands,
    help="""Make and rotate the keys that sign access tokens.

    A rotation that logs nobody out: add a key, roll it out to every process, promote it, roll out
    again, and remove the old one once its last token has expired.

    Example: app keys add""",
    no_args_is_help=True,
    rich_markup_mode=None,
)

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        help="The file of the keys; - reads standard input and writes standard output."
        " [default: APP_AUTH__SIGNING_KEYS_FILE, or the file of development]",
    ),
]
Kid = Annotated[str, typer.Argument(metavar="KID", help="Id of the key, as `list` shows it.")]


class OfKey(TyperCommand):
    """A command that knows an id from options: one thumbprint in 64 begins with a hyphen."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Put such an id where no options are expected."""
        kids = [each for each in args if _LIKE_AN_OPTION.fullmatch(each)]
        others = [each for each in args if each not in kids]
        return super().parse_args(ctx, [*others, "--", *kids] if kids else args)


@app.command()
def generate(
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="File to write, in place of the screen.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace keys that are there: their tokens end.")
    ] = False,
) -> None:
    """Make a set with one new key.

    Example: app keys generate --file signing-keys.json
    """
    path = file or STANDARD
    if path != STANDARD and path.exists() and not force:
        raise CommandFailed(
            f"{path} is there already, and without its keys the tokens they signed are void."
            " Use `app keys add` to rotate, or --force."
        )
    _write(SigningKeys.generate(), path)
    if path != STANDARD:
        say(f"Wrote {path}.")


@app.command()
def add(*, file: KeyFile = None) -> None:
    """Add a key that is published and accepted, and does not sign yet.

    Example: app keys add
    """
    path = _file(file)
    keys = _read(path).add()
    _write(keys, path)
    say(f"Added {keys.kids[-1]}. When every process has it: app keys promote {keys.kids[-1]}")


@app.command(cls=OfKey)
def promote(kid: Kid, *, file: KeyFile = None) -> None:
    """Have a key sign from now on; the others go on verifying.

    Example: app keys promote NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs
    """
    path = _file(file)
    try:
        keys = _read(path).promote(kid)
    except KeyError:
        raise _unknown(kid) from None
    _write(keys, path)
    say(f"{kid} signs now. Remove the one before once its last token has expired.")


@app.command(cls=OfKey)
def remove(kid: Kid, *, file: KeyFile = None) -> None:
    """Remove a key; tokens that it signed are void.

    Example: app keys remove NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs
    """
    path = _file(file)
    try:
        keys = _read(path).remove(kid)
    except KeyError:
        raise _unknown(kid) from None
    except ValueError as error:
        raise CommandFailed(f"{kid}: {error}.") from error
    _write(keys, path)
    say(f"Removed {kid}.")


@app.command("list")
def show(*, file: KeyFile = None) -> None:
    """Show the ids of the keys; the first one signs.

    Example: app keys list
    """
    signing, *others = _read(_file(file)).kids
    typer.echo(f"{signing}  signs and verifies")
    for kid in others:
        typer.echo(f"{kid}  verifies")


def _file(file: Path | None) -> Path:
    """The file to work on: the one that was named, or the one that the settings name."""
    if file:
        return file
    settings = load_settings()
    if settings.auth.signing_keys_file:
        return settings.auth.signing_keys_file
    if settings.environment == "development" and settings.auth.signing_keys is None:
        return DEVELOPMENT_KEYS
    raise CommandFailed(
        "The keys are not in a file; give one by --file, or the keys by --file - and a pipe."
    )


def _read(file: Path) -> SigningKeys:
    try:
        return SigningKeys.from_json(sys.stdin.read() if file == STANDARD else file.read_text())
    except OSError as error:
        raise CommandFailed(f"{file} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise CommandFailed(f"{file} {error}.") from error


def _write(keys: SigningKeys, file: Path) -> None:
    if file == STANDARD:
        typer.echo(keys.to_json())
    else:
        with writing(file):
            write_private(file, keys.to_json())


def _unknown(kid: str) -> CommandFailed:
    return CommandFailed(f"There is no key {kid}; `app keys list` shows them.")
