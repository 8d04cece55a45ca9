"""Draw the terminal of the README: the output of `fastapi-senior resource`.

python tools/picture.py    # writes docs/resource.svg; needs the package
"""

import io
import re
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from fastapi_senior import cli, console
from fastapi_senior.init.generation import answer, generate

PICTURE = Path(__file__).parents[1] / "docs/resource.svg"
ARGUMENTS = (
    *("resource", "invoices", "number:str:unique", "total:decimal", "due:date:optional"),
    *("status:draft,sent,paid=draft", "item:items", "--owned"),
)
WIDTH = 112
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_TIME = re.compile(r"\b\d{8}_\d{4}(?=_add_)")


def draw() -> str:
    """Return the picture of the command in a new project."""
    shown = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    with TemporaryDirectory() as place:
        project = Path(place, "my-api")
        generate(project, answer({"project_name": "My API"}, ask=False))
        for command in (("init",), ("add", "."), ("commit", "--message=Initial commit")):
            author = ("-c", "user.name=me", "-c", "user.email=me@example.com")
            subprocess.run(["git", *author, *command], cwd=project, check=True, capture_output=True)
        with chdir(project), patch.object(console, "_out", _Dated(shown)):
            console.say(" ".join(("$ fastapi-senior", *ARGUMENTS)), "bold")
            cli.app(ARGUMENTS, standalone_mode=False)
    picture = shown.export_svg(title="my-api", theme=MONOKAI, unique_id="terminal")
    # Without fonts from the network, which a README does not load.
    return "\n".join(line.rstrip() for line in _FONT.sub("", picture).splitlines()) + "\n"


class _Dated:
    """Prints the same date in the name of the migration each time."""

    def __init__(self, shown: Console) -> None:
        self.shown = shown

    def print(self, text: Text) -> None:
        """Print a line."""
        line = Text(_TIME.sub("20260101_0900", text.plain), text.style)
        self.shown.print(line, highlight=False)


def main() -> int:
    """Write the picture, and return the exit code."""
    PICTURE.write_text(draw(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
