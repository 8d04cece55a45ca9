"""Remove the example resource `items`: its files, its registrations, its documentation.

Run `make remove-example` on a clean git tree. Nothing is written unless everything can be removed.
"""

import argparse
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWN = re.compile(r"(?:\d+_|test_)?items(?:_\w+)?\.(?:py|md)")
"""Names of the example's files."""

PLACES = ("src/app", "tests", "migrations/versions", "docs")
REGISTRATIONS = (
    "src/app/api/v1/router.py",
    "src/app/domain/permissions.py",
    "src/app/messages/__init__.py",
    "src/app/models/__init__.py",
    "src/app/tasks/__init__.py",
)
"""Files with lines of the example: imports, and entries of lists."""

DEPENDENTS = {
    "src/app/api/deps/jobs.py": ('"items:read"', '"profile:read"'),
    "src/app/config.py": (
        """
    items: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    \"\"\"Items; further ones are refused until one is deleted.\"\"\"
""",
        "",
    ),
}
"""Texts to replace: the permission of the example, which jobs require, and its quota."""

TEXTS = ("README.md", "AGENTS.md", "Makefile", ".env.example")
MENTION = re.compile(r"`items`|docs/items\.md|remove-example|APP_QUOTAS__ITEMS")
"""A paragraph that mentions one of these is removed."""

DEPENDS = re.compile(
    r"\b(?:app|tests)\.[\w.]+\.items(?:_\w+)?\b|\bfrom app[\w.]* import .*\bitems\b"
    r"|\bmodels\.Item\b|[\"']items:(?:read|write)\b|[\"']items\.\w|/items\b|docs/items\.md"
)
"""Code and links that would break."""

LONGEST = 5
"""Maximum lines of a paragraph that is removed: a longer one may have other content."""


class Refused(Exception):
    """The example can't be removed."""


def removed_files() -> list[Path]:
    """Return the files of the example, and this one.

    Raises:
        Refused: There are none.
    """
    found = [
        path
        for place in PLACES
        for path in sorted((ROOT / place).rglob("*"))
        if path.is_file() and OWN.fullmatch(path.name)
    ]
    if not found:
        raise Refused("The example was removed already.")
    return [*found, Path(__file__).resolve()]


def edited_files(files: list[Path]) -> dict[Path, str]:
    """Return the new texts of the files that name the example.

    Raises:
        Refused: Something else depends on it.
    """
    edits: dict[Path, str] = {}
    problems: list[str] = []
    for path in filter(Path.exists, (ROOT / name for name in REGISTRATIONS)):
        edits[path] = without_registrations(path, problems)
    for path in filter(Path.exists, (ROOT / name for name in TEXTS)):
        edits[path] = without_mentions(path, problems)
    for name, (old, new) in DEPENDENTS.items():
        path = ROOT / name
        if path.exists():
            text = path.read_text(encoding="utf-8")
            if text.count(old) != 1:
                problems.append(f"{name}: expected {old} once")
            edits[path] = text.replace(old, new)
    for path in sorted({*ROOT.glob("[!.]*/**/*.py"), *ROOT.glob("**/[!.]*.md")} - {*files}):
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts):
            text = edits.get(path, path.read_text(encoding="utf-8"))
            problems += (
                f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
                for number, line in enumerate(text.splitlines(), 1)
                if DEPENDS.search(line)
            )
    if problems:
        if any(problem.startswith("migrations/") for problem in problems):
            problems.append(
                "Take the foreign key out of that migration. Where it was applied, drop the"
                " constraint in the database, too."
            )
        raise Refused("Remove these references first:\n" + "\n".join(problems))
    return edits


def without_registrations(path: Path, problems: list[str]) -> str:
    """Return a module without its imports of the example and the entries that name them."""
    text = path.read_text(encoding="utf-8")
    names = set(re.findall(r"^from app[\w.]* import .*?\b(items)\b", text, re.MULTILINE))
    names |= set(re.findall(r"^    (items\w*),$", text, re.MULTILINE))
    for imported in re.findall(r"^from app[\w.]*\.items import (.+)$", text, re.MULTILINE):
        names |= {name.strip() for name in imported.split(",")}
    if not names:
        return text
    named = re.compile(rf"(?<![\w.])(?:{'|'.join(sorted(names))})\b(?!\()")
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        shared = re.fullmatch(r"(from app[\w.]* import )(.+)", line)
        others = [each for each in shared[2].split(", ") if each not in names] if shared else []
        if not named.search(line):
            lines.append(line)
        elif shared and others and ".items import" not in line:
            lines.append(shared[1] + ", ".join(others))
        elif not shared and not re.fullmatch(r" +[\"\w][^()]*,", line):
            problems.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
        elif lines and not lines[-1]:
            lines.append("\0")  # a blank line before and after is one too many
    text = re.sub(r"\n\0(?:\n\0)*\n(?=\n)", "", "\n".join([*lines, ""]))
    return text.replace("\0\n", "")


def without_mentions(path: Path, problems: list[str]) -> str:
    """Return a text without the paragraphs about the example."""
    kept: list[str] = []
    number = 1
    for paragraph in path.read_text(encoding="utf-8").split("\n\n"):
        if not MENTION.search(paragraph):
            kept.append(paragraph)
        elif paragraph.count("\n") >= LONGEST:
            problems.append(f"{path.relative_to(ROOT)}:{number}: a paragraph with other content")
        number += paragraph.count("\n") + 2
    return "\n\n".join(kept).rstrip("\n") + "\n"


def migration(files: list[Path]) -> tuple[str, str]:
    """Return the revision of the example's table, and the one before.

    Raises:
        Refused: Another migration follows it.
    """
    (own,) = [path for path in files if path.parent.name == "versions"]
    revision, before = (
        _value(name, own.read_text(encoding="utf-8")) for name in ("revision", "down_revision")
    )
    for path in sorted(own.parent.glob("*.py")):
        if _value("down_revision", path.read_text(encoding="utf-8")) == revision:
            raise Refused(
                f"{path.relative_to(ROOT)} follows {own.name}. "
                f'Set its down_revision to "{before}" first.'
            )
    return revision, before


def _value(name: str, text: str) -> str:
    found = re.search(rf'^{name}\b.*= "(\w+)"', text, re.MULTILINE)
    return found[1] if found else ""


def require_clean_tree() -> None:
    """Raise `Refused` if git could not restore the removed files."""
    git = shutil.which("git") or "git"
    try:
        done = subprocess.run(  # noqa: S603 - constant arguments
            (git, "status", "--porcelain"), cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        raise Refused(
            "This is no git repository. Run `git init` and commit, or use "
            "`make remove-example args=--force`."
        ) from None
    if done.stdout:
        raise Refused(
            "There are uncommitted changes. Commit them, or use `make remove-example args=--force`."
        )


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--force", action="store_true", help="even with uncommitted changes")
    arguments = parser.parse_args()
    try:
        files = removed_files()
        if not arguments.force:
            require_clean_tree()
        edits = edited_files(files)
        revision, before = migration(files)
    except Refused as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for path, text in edits.items():
        path.write_text(text, encoding="utf-8")
    for path in files:
        path.unlink()
    with suppress(OSError):  # it holds other scripts
        Path(__file__).parent.rmdir()
    lines = (
        f"Removed {len(files)} files. Run `make check`.",
        "In each database that has the table, run:",
        "  DROP TABLE items;",
        f"  UPDATE alembic_version SET version_num = '{before}'",  # noqa: S608 - printed
        f"    WHERE version_num = '{revision}';",
    )
    sys.stdout.write("\n".join((*lines, "")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
