"""`items`, the example, is what the command writes from its specification, to the byte."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from fastapi_senior.project import Project
from fastapi_senior.resource import migration
from fastapi_senior.resource.document import load
from fastapi_senior.resource.generation import generate
from fastapi_senior.resource.rendering import formatted
from tests.toolkit.projects import contents, copied, without_example

WRITTEN = "migrations/versions/0003_items.py"
BY_HAND = {"AGENTS.md", "Makefile", "README.md", "docs/items.md", "scripts/remove_example.py"}


def test_the_example_is_written_by_the_command(project: Path, tmp_path: Path) -> None:
    expected = contents(project)
    bare = without_example(copied(project, tmp_path / "project"))
    found = Project(bare)
    items = load(Path(str(files("fastapi_senior.resource") / "items.yaml")), found.tables)
    items = replace(items, export_job=found.has_jobs)

    changes = generate(found, items, datetime(2026, 12, 1, tzinfo=UTC))

    path = migration.path(items, datetime(2026, 12, 1, tzinfo=UTC))
    assert path in changes.created
    changes.texts.pop(path)
    title = "Items, the example resource."
    text = migration.text(items, migration.head(found), {}, revision="0003", title=title)
    changes.write(WRITTEN, formatted(text, bare / WRITTEN))
    changes.apply()
    actual = contents(bare)
    assert expected.keys() - actual.keys() <= BY_HAND
    assert actual.keys() <= expected.keys()
    for name, content in actual.items():
        if name not in BY_HAND:
            assert content.decode() == expected[name].decode(), name


def test_the_example_has_all_that_the_command_offers() -> None:
    text = (files("fastapi_senior.resource") / "items.yaml").read_text(encoding="utf-8")
    for option in ("search", "sort", "filter", "count_by", "export", "export_job"):
        assert re.search(rf"^{option}: \S", text, re.MULTILINE)
