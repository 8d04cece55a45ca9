"""`resource remove NAME` restores the tree of before, or refuses."""

from pathlib import Path

import pytest

from tests.toolkit.projects import (
    commit,
    contents,
    copied,
    done,
    git,
    refused,
    run,
    without_example,
)
from tools import variant

FULLEST = variant.ends()[1]
SPEC = (
    *("number:str:unique", "total:decimal", "due:date:optional"),
    *("status:draft,sent,paid=draft", "item:items", "--count-by", "status", "--export"),
)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("removal")
    found = {name: variant.generate(name, place / name) for name in ("sqlite", FULLEST)}
    for project in found.values():
        commit(project)
    return found


@pytest.fixture
def project(originals: dict[str, Path], tmp_path: Path) -> Path:
    return copied(originals["sqlite"], tmp_path / "project")


@pytest.mark.parametrize("name", ["sqlite", FULLEST])
def test_restores_the_tree(originals: dict[str, Path], tmp_path: Path, name: str) -> None:
    project = copied(originals[name], tmp_path / "project")
    before = contents(project)
    jobs = ["--export-job"] if name == FULLEST else []
    done(project, "resource", "invoices", *SPEC, *jobs)
    assert len(contents(project)) > len(before)
    commit(project)

    preview = done(project, "resource", "remove", "invoices", "--dry-run")
    assert "--- a/src/app/models/invoices.py" in preview
    assert git(project, "status", "--porcelain") == ""
    output = done(project, "resource", "remove", "invoices")

    assert contents(project) == before
    assert git(project, "diff", "HEAD~1", "--stat") == ""
    assert "deleted  src/app/models/invoices.py" in output
    assert "  DROP TABLE invoices;\n  UPDATE alembic_version SET version_num = '0003'\n" in output


@pytest.mark.parametrize("name", ["sqlite", FULLEST])
def test_removes_the_example_as_its_script_does(
    originals: dict[str, Path], tmp_path: Path, name: str
) -> None:
    expected = contents(without_example(copied(originals[name], tmp_path / "expected")))
    project = copied(originals[name], tmp_path / "project")
    assert "--- a/scripts/remove_example.py" in done(
        project, "resource", "remove", "items", "--dry-run"
    )
    output = done(project, "resource", "remove", "items")
    assert "DROP TABLE items;" in output
    assert contents(project) == expected
    assert not (project / "scripts").exists()


def test_removes_the_example_without_its_script(project: Path) -> None:
    (project / "scripts/remove_example.py").unlink()
    commit(project)
    done(project, "resource", "remove", "items")
    assert not (project / "src/app/models/items.py").exists()


def test_refuses_while_another_resource_refers_to_it(project: Path) -> None:
    done(project, "resource", "invoices", "number", "item:items")
    commit(project)
    done(project, "resource", "payments", "total:decimal", "invoice:invoices")
    commit(project)
    sentence = refused(project, "resource", "remove", "invoices")
    assert "_add_payments.py follows migrations/versions/" in sentence
    assert "Set its down_revision to" in sentence
    done(project, "resource", "remove", "payments")
    commit(project)
    assert "src/app/models/invoices.py:" in refused(project, "resource", "remove", "items")
    done(project, "resource", "remove", "invoices")
    commit(project)
    done(project, "resource", "remove", "items")


@pytest.mark.parametrize(
    "line",
    [
        "from app.models.invoices import Invoice",
        "from app.domain import invoices",
        'PATH = "/api/v1/invoices"',
        'SCOPE = "invoices:read"',
        'KEY = "invoices.id"',
        "import app.services.invoices",
    ],
)
def test_refuses_while_other_code_refers_to_it(project: Path, line: str) -> None:
    done(project, "resource", "invoices", "number")
    file = project / "src/app/services/users.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(f"{text}{line}\n", encoding="utf-8")
    commit(project)
    number = len(text.splitlines()) + 1
    sentence = refused(project, "resource", "remove", "invoices")
    assert sentence.startswith("Other code refers to it. Remove these lines first")
    assert f"src/app/services/users.py:{number}: {line}" in sentence


def test_refuses_what_it_did_not_write(project: Path) -> None:
    for name in ("users", "nothing", "sessions", "permissions", "lists", "../etc"):
        sentence = refused(project, "resource", "remove", name)
        assert sentence == f"There is no resource `{name}`. Those that can be removed: items."


def test_refuses_uncommitted_changes(project: Path) -> None:
    done(project, "resource", "invoices", "number")
    assert "uncommitted changes in" in refused(project, "resource", "remove", "invoices")
    commit(project)
    file = project / "src/app/services/invoices.py"
    file.write_text(file.read_text(encoding="utf-8") + "\n# new\n", encoding="utf-8")
    sentence = refused(project, "resource", "remove", "invoices")
    assert "uncommitted changes in src/app/services/invoices.py" in sentence


def test_refuses_a_migration_that_does_more(project: Path) -> None:
    done(project, "resource", "invoices", "number")
    (file,) = (project / "migrations/versions").glob("*_add_invoices.py")
    text = file.read_text(encoding="utf-8")
    more = 'def upgrade() -> None:\n    op.add_column("users", sa.Column("age", sa.Integer()))\n'
    file.write_text(text.replace("def upgrade() -> None:\n", more), encoding="utf-8")
    commit(project)
    sentence = refused(project, "resource", "remove", "invoices")
    assert "_add_invoices.py changes users, too. Take `invoices` out of it" in sentence


def test_keeps_later_edits(project: Path) -> None:
    done(project, "resource", "invoices", "number")
    router = project / "src/app/api/v1/router.py"
    text = router.read_text(encoding="utf-8")
    edited = text.replace("    users,\n    items,", "    users,  # ours\n    items,")
    assert edited != text
    router.write_text(edited, encoding="utf-8")
    commit(project)
    done(project, "resource", "remove", "invoices")
    assert router.read_text(encoding="utf-8").count("  # ours\n") == 1
    assert "invoices" not in router.read_text(encoding="utf-8")


def test_help_names_the_argument(project: Path) -> None:
    assert "remove [OPTIONS] NAME" in run(project, "resource", "remove", "--help").output.replace(
        "{NAME}", "NAME"
    )
