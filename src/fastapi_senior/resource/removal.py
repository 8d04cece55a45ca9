"""Gathers the changes of a project that remove a resource."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from fastapi_senior.changes import Changes
from fastapi_senior.errors import Refused
from fastapi_senior.files import text_of
from fastapi_senior.project import Project
from fastapi_senior.resource import migration, registrations
from fastapi_senior.resource.generation import TYPES, every_path
from fastapi_senior.resource.names import Names

SCRIPT: Final = "scripts/remove_example.py"
_SEARCHED: Final = ("fuzz", "migrations", "src", "tests")
_LAYERS: Final = (
    r"(?:app\.(?:api\.\w+|domain|messages|models|repositories|services|tasks)|tests\.\w+)"
)
_HINT: Final = "Other code refers to it. Remove these lines first, or what they belong to:"


def remove(project: Project, name: str) -> tuple[Changes, list[str]]:
    """Return the changes of a project that remove a resource, and lines for databases.

    Raises:
        Refused: There is none, or something depends on it.
    """
    plural = name.replace("-", "_")
    if plural == "items" and project.has(SCRIPT):
        return _by_script(project)
    if plural not in project.resources:
        known = ", ".join(project.resources) or "none"
        raise Refused(f"There is no resource `{name}`. Those that can be removed: {known}.")
    names = _names(project, plural)
    changes = Changes(project.root)
    for path in every_path(names).values():
        if changes.exists(path):
            changes.delete(path)
    created = migration.creating(project, names.plural)
    if created is not None:
        changes.delete(created.path)
    registrations.unregister(changes, names)
    if not any("app.infrastructure.http.fields import" in text for text in _schemas(changes)):
        for path in filter(changes.exists, TYPES):
            changes.delete(path)
    if found := list(_references(changes, names)):
        raise Refused("\n".join([_HINT, *found]))
    return changes, _for_databases(names.plural, created)


def _schemas(changes: Changes) -> Iterator[str]:
    """Yield the schemas that remain."""
    for file in sorted((changes.root / "src/app/api/schemas").glob("*.py")):
        path = file.relative_to(changes.root).as_posix()
        if changes.exists(path):
            yield changes.read(path)


def _names(project: Project, plural: str) -> Names:
    """Return the names of a resource, its singular from the model."""
    entity = project.tables[plural].entity
    return Names(plural, re.sub(r"(?<!^)(?=[A-Z])", "_", entity).lower())


def _references(changes: Changes, names: Names) -> Iterator[str]:
    """Yield the lines that would break."""
    plural, entity = re.escape(names.plural), re.escape(names.entity)
    pattern = re.compile(
        rf"\b(?:{_LAYERS})\.{plural}(?:_export)?\b"
        rf"|\bfrom (?:{_LAYERS}) import (?:.*, )?{plural}(?:_export)?\b"
        rf"|\bmodels\.{entity}\b|[\"']{plural}:(?:read|write)\b|[\"']{plural}\.\w"
        rf"|/v1/{re.escape(names.path)}\b|\bquotas\.{plural}\b"
    )
    files = [file for folder in _SEARCHED for file in (changes.root / folder).rglob("*.py")]
    for file in sorted(files):
        path = file.relative_to(changes.root).as_posix()
        if changes.exists(path):
            for number, line in enumerate(changes.read(path).splitlines(), 1):
                if pattern.search(line):
                    yield f"{path}:{number}: {line.strip()}"


def _for_databases(table: str, created: migration.Revision | None) -> list[str]:
    lines = ["In each database that has the table, run:", f"  DROP TABLE {table};"]
    if created is not None:
        lines += [
            f"  UPDATE alembic_version SET version_num = '{''.join(created.before)}'",  # noqa: S608 - printed
            f"    WHERE version_num = '{created.revision}';",
        ]
    return lines


def _by_script(project: Project) -> tuple[Changes, list[str]]:
    """Return the changes that the project's own script makes to a copy."""
    changes = Changes(project.root)
    with TemporaryDirectory() as folder:
        copy = Path(folder, project.root.name)
        before = changes.kept()
        for path in before:
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project.root / path, copy / path)
        done = subprocess.run(
            [sys.executable, copy / SCRIPT, "--force"],
            cwd=copy, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Refused(done.stderr.strip().replace(f"{copy}/", ""))
        for path in before:
            if not (copy / path).is_file():
                changes.delete(path)
            elif (copy / path).read_bytes() != (project.root / path).read_bytes():
                changes.write(path, text_of(copy / path))
    return changes, done.stdout.splitlines()[1:]
