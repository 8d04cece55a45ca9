"""Bad input is a sentence with the remedy, and no file is touched."""

from pathlib import Path

import pytest

from tests.toolkit.projects import commit, contents, copied, done, git, refused, run
from tools import variant


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = variant.generate("sqlite", tmp_path_factory.mktemp("refusals"))
    commit(project)
    return project


@pytest.fixture
def project(original: Path, tmp_path: Path) -> Path:
    return copied(original, tmp_path / "project")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("items", "remove it with `fastapi-senior resource remove items`"),
        ("users", "There is src/app/models/users.py already. Choose another name."),
        ("refresh_tokens", "There is the table `refresh_tokens` already. Choose another name."),
        ("auth_session", "There is the table `auth_sessions` already. Choose another name."),
        ("lists", "There is tests/support/lists.py already. Choose another name."),
        ("events", "`events` means something else in the code of a resource."),
        ("pages", "Choose a name of two words"),
        ("uuids", "means something else"),
        ("decimals", "`Decimal` means something else"),
        ("owners", "`owner` means something else"),
        ("bases", "`Base` means something else"),
        ("exceptions", "`Exception` has a meaning in Python"),
        ("none", "`None` has a meaning in Python"),
        ("series", "Pass another one with `--singular`, such as `series_entry`."),
        ("APIs", "Use lower-case words"),
        ("b" * 60, "Use at most 24 characters"),
        ("jobs", "is a part of the service"),
    ],
)
def test_refuses_names(original: Path, name: str, sentence: str) -> None:
    assert sentence in refused(original, "resource", name, "label")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["total:money"], "there is no type and no resource `money`"),
        (["order:orders"], "The resources are api_keys, items, login_throttles, users, invoices"),
        (["metadata:json"], "is an attribute of models"),
        (["id"], "every resource has a column `id` already"),
        ([], "A resource needs a field"),
        (["label", "--export", "--export-job"], "needs background jobs, which this project lacks"),
        (["label", "--search", "other"], "--search: there is no field `other`"),
        (["label", "--from", "spec.yaml"], "stand in the file alone"),
    ],
)
def test_refuses_fields_and_options(original: Path, arguments: list[str], sentence: str) -> None:
    assert sentence in refused(original, "resource", "invoices", *arguments)


@pytest.mark.parametrize("name", ["types", "metadata", "classes", "objects", "urls", "ids"])
def test_takes_names_that_look_reserved(original: Path, name: str) -> None:
    before = contents(original)
    assert f"+++ b/src/app/models/{name}.py" in done(
        original, "resource", name, "label", "--dry-run"
    )
    assert contents(original) == before


def test_refuses_folders_without_a_project(tmp_path: Path) -> None:
    assert "make one with `fastapi-senior init`" in refused(tmp_path, "resource", "orders", "a")
    (tmp_path / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    assert "has no `[tool.fastapi-senior]`" in refused(tmp_path, "resource", "orders", "a")
    (tmp_path / "pyproject.toml").write_text("[project\n", encoding="utf-8")
    assert "is invalid" in refused(tmp_path, "resource", "orders", "a")
    (tmp_path / "pyproject.toml").write_bytes(b"\xff")
    assert "is no text in UTF-8" in refused(tmp_path, "resource", "orders", "a")


def test_names_the_program_for_another_version(project: Path) -> None:
    file = project / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    own = text.partition("[tool.fastapi-senior]")[2].partition('version = "')[2].partition('"')[0]
    file.write_text(text.replace(f'version = "{own}"', 'version = "1.4.0"'), encoding="utf-8")
    commit(project)
    for command in (["orders", "a"], ["remove", "items"]):
        sentence = refused(project, "resource", *command)
        assert "This project is of version 1.4.0" in sentence
        assert "fastapi-senior@v1.4.0 fastapi-senior" in sentence


@pytest.mark.parametrize("path", ["src/app/config.py", ".env.example", "src/app/api/v1/router.py"])
def test_refuses_uncommitted_changes(project: Path, path: str) -> None:
    file = project / path
    file.write_bytes(file.read_bytes() + b"\n# changed\n")
    assert f"uncommitted changes in {path}" in refused(project, "resource", "orders", "a")
    commit(project)
    (project / "README.md").write_text("of no interest\n", encoding="utf-8")
    done(project, "resource", "orders", "a")


def test_refuses_a_project_outside_of_git(original: Path, tmp_path: Path) -> None:
    project = copied(original, tmp_path / "project")
    (project / ".git").rename(tmp_path / "git")
    assert "Run `git init` and commit first" in refused(project, "resource", "orders", "a")


@pytest.mark.parametrize(
    ("path", "content", "sentence"),
    [
        ("src/app/config.py", b"\xff", "is no text in UTF-8"),
        ("src/app/models/users.py", b"\xff", "is no text in UTF-8"),
        ("src/app/models/users.py", b"class User(:\n", "is no valid Python"),
        ("src/app/api/v1/router.py", b"FEATURES = (\n", "Mend it first"),
        ("src/app/api/v1/router.py", b"import this\n", "is not where the template has it"),
        ("migrations/versions/0003_items.py", b"x = 1\n", "has no `revision`"),
        ("tests/support/factories.py", b"\xff", "is no text in UTF-8"),
    ],
)
def test_refuses_files_that_it_cannot_edit(
    project: Path, path: str, content: bytes, sentence: str
) -> None:
    (project / path).write_bytes(content)
    commit(project)
    found = refused(project, "resource", "orders", "user:users")
    assert sentence in found
    assert path in found


def test_refuses_two_heads(project: Path) -> None:
    versions = project / "migrations/versions"
    for name in ("0004", "0005"):
        text = f'revision = "{name}"\ndown_revision = "0003"\n'
        (versions / f"{name}.py").write_text(text, encoding="utf-8")
    commit(project)
    assert "Run `alembic merge heads` first" in refused(project, "resource", "orders", "a")


def test_a_specification_in_a_file_is_the_same_as_options(project: Path) -> None:
    file = project / "spec.yaml"
    file.write_text(
        "resource: orders\nfields: {label: 'str:1..40', total: decimal}\nsort: [label]\n",
        encoding="utf-8",
    )
    commit(project)
    done(project, "resource", "--from", "spec.yaml")
    by_file = contents(project)
    git(project, "checkout", "--quiet", ".")
    git(project, "clean", "--quiet", "--force", "-d")
    done(project, "resource", "orders", "label:1..40", "total:decimal", "--sort", "label")
    by_options = contents(project)
    assert by_file.keys() == by_options.keys()
    assert all(by_file[path] == by_options[path] for path in by_file if "versions/" not in path)


def test_prints_usage_without_arguments(original: Path) -> None:
    result = run(original, "resource")
    assert "[NAME] [FIELD…]" in result.output
    assert "resource remove NAME" in result.output
