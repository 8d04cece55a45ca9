"""`fastapi-senior endpoint` adds an operation to `items`, and refuses what does not fit."""

import ast
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fastapi_senior import cli
from fastapi_senior.errors import Refused
from tests.conftest import Bake

ROUTES = "src/app/api/v1/items.py"
SCHEMAS = "src/app/api/schemas/items.py"
SERVICE = "src/app/services/items.py"
TESTS = "tests/api/test_items.py"
PUBLISH = "POST /items/{item_id}/publish"


@pytest.fixture(scope="module")
def committed(bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed project. Tests must not change it."""
    copy = tmp_path_factory.mktemp("committed") / "project"
    shutil.copytree(bake({"database": "sqlite"}), copy)
    commit(copy)
    return copy


@pytest.fixture
def project(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, the working directory of the test."""
    copy = shutil.copytree(committed, tmp_path / "project")
    monkeypatch.chdir(copy)
    return copy


def commit(folder: Path) -> None:
    shutil.rmtree(folder / ".git", ignore_errors=True)
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "Add the project"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def endpoint(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, ["endpoint", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def diff(folder: Path) -> list[str]:
    shown = subprocess.run(
        ["git", "diff", "--unified=0"], cwd=folder, check=True, capture_output=True, text=True
    )
    return shown.stdout.splitlines()


def definition(file: Path, name: str) -> str:
    """Return a function, method or class as it is written, without decorators."""
    text = file.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.AsyncFunctionDef | ast.ClassDef) and node.name == name:
            return ast.get_source_segment(text, node) or ""
    return ""


def test_writes_schema_route_method_and_tests(project: Path) -> None:
    output = endpoint(PUBLISH, "--input", "status", "--output", "title", "--output", "updated_at")

    assert "curl -s -X POST $api/items/$id/publish" in output
    edited = {line[6:] for line in diff(project) if line.startswith("+++ ")}
    assert edited == {ROUTES, SCHEMAS, SERVICE, TESTS}
    assert "    status: Status\n" in definition(project / SCHEMAS, "ItemPublishUpdate")
    response = definition(project / SCHEMAS, "ItemPublishResponse")
    assert response.startswith("class ItemPublishResponse(ChangingResourceResponse):")
    assert "updated_at" not in response
    assert "owner: ItemEditor" in definition(project / ROUTES, "publish_item")
    assert "self.update(owner_id, item_id, changes" in definition(project / SERVICE, "publish")
    tests = definition(project / TESTS, "TestPublishItem")
    for status in ("== 200", "404", "412", "assert_invalid"):
        assert status in tests


def test_keeps_everything_else_to_the_letter(project: Path) -> None:
    endpoint(PUBLISH, "--input", "status")

    removed = [line for line in diff(project) if line.startswith("-") and line[:3] != "---"]
    assert {line.split()[0] for line in removed} <= {"-from"}


def test_reads_by_get_with_the_permission_to_read(project: Path) -> None:
    endpoint("GET /items/{item_id}/summary", "--output", "title:str")

    route = definition(project / ROUTES, "get_item_summary")
    assert "owner: ItemViewer" in route
    assert "response" not in route
    assert "self.get(owner_id, item_id)" in definition(project / SERVICE, "get_summary")


def test_creates_by_post_on_the_collection(project: Path) -> None:
    endpoint("POST /items/import", "--input", "title")

    routes = (project / ROUTES).read_text(encoding="utf-8")
    assert routes.index('"/import"') < routes.index('"/{item_id}"')
    assert "IdempotencyDep" in definition(project / ROUTES, "import_item")
    assert "ItemCreate.model_validate" in definition(project / SCHEMAS, "ItemImportCreate")
    assert "too_many_items" in definition(project / TESTS, "TestImportItem")


def test_replaces_by_put_and_updates_by_patch(project: Path) -> None:
    endpoint("PUT /items/{item_id}/text", "--input", "title", "--input", "description:optional")
    commit(project)
    endpoint("PATCH /items/{item_id}/state", "--input", "status")

    replaced = definition(project / SCHEMAS, "ItemTextUpdate")
    assert "    title: Title\n    description: Description | MISSING = MISSING\n" in replaced
    assert "status: Status | MISSING" in definition(project / SCHEMAS, "ItemStateUpdate")


def test_reads_a_file(project: Path, tmp_path: Path) -> None:
    file = tmp_path / "endpoint.yaml"
    file.write_text(
        "method: POST\npath: /items/{item_id}/publish\ninput: [status]\nrequires_tests: false\n",
        encoding="utf-8",
    )

    output = endpoint("--from", str(file))

    assert "Each documented status needs a test" in output
    assert definition(project / ROUTES, "publish_item")
    assert definition(project / TESTS, "TestPublishItem") == ""


def test_a_dry_run_prints_the_changes_alone(project: Path) -> None:
    output = endpoint(PUBLISH, "--input", "status", "--dry-run")

    assert f"+++ b/{ROUTES}" in output
    assert diff(project) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "title"], "Pass an operation"),
        (["PUBLISH /items/{item_id}/publish"], "is none of GET, POST, PUT, PATCH"),
        (["DELETE /items/{item_id}/title"], "To clear an optional field"),
        (["POST items"], "the path is that of a resource"),
        (["GET /items/recent"], "GET needs a row"),
        (["GET /items/{item_id}/title", "--input", "title"], "GET has no body"),
        (["PUT /items/{item_id}/title"], "needs fields to write"),
        (["POST /orders/{order_id}/send"], "There is no resource `orders`"),
        (["POST /users/{user_id}/send"], "Write the operation by hand"),
        (["POST /items/{order_id}/send"], "Write `/items/{item_id}/send`"),
        ([PUBLISH, "--input", "note:text:optional"], "`note` is no field of items"),
        ([PUBLISH, "--output", "sent_at:datetime"], "Add it to the resource first"),
        ([PUBLISH, "--input", "title:date"], "in items it is `str`"),
        ([PUBLISH, "--input", "title:colour"], "The types are str, text"),
        ([PUBLISH, "--input", "Title"], "`Title` is no name"),
        ([PUBLISH, "--input", "title", "--input", "title"], "two fields `title`"),
        ([PUBLISH, "--output", "title:optional"], "responses have all of their fields"),
        ([PUBLISH, "--output", "ItemStatsResponse"], "shows no item"),
        (["POST /items/import", "--input", "status"], "Add `--input title`"),
        ([PUBLISH, "--name", "create_item"], "has an operation `create_item`"),
        ([PUBLISH, "--name", "publish"], "is no name of an operation"),
        ([PUBLISH, "--summary", "Create an item"], "Pass another one with `--summary`"),
        ([PUBLISH, "--no-requires-auth"], "Pass `--requires-auth`"),
        ([PUBLISH, "--no-requires-database"], "Pass `--requires-database`"),
        (["--from", "missing.yaml"], "missing.yaml can't be read"),
    ],
    ids=lambda each: each if isinstance(each, str) else None,
)
def test_refuses_what_does_not_fit(
    committed: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(committed)
    with pytest.raises(Refused) as refused:
        endpoint(*arguments)

    assert message in str(refused.value)
    assert diff(committed) == []


def test_refuses_an_operation_that_exists(project: Path) -> None:
    endpoint(PUBLISH)
    commit(project)

    with pytest.raises(Refused, match="exists: `publish_item`"):
        endpoint(PUBLISH)


def test_refuses_uncommitted_changes(project: Path) -> None:
    with (project / SERVICE).open("a", encoding="utf-8") as file:
        file.write("# An edit.\n")
    before = diff(project)

    with pytest.raises(Refused, match="uncommitted changes in src/app/services/items"):
        endpoint(PUBLISH)
    assert diff(project) == before


def test_works_beside_edits(project: Path) -> None:
    routes = project / ROUTES
    text = routes.read_text(encoding="utf-8")
    routes.write_text(
        text.replace(
            '@router.get(\n    "/{item_id}"', '# An edit.\n@router.get(\n    "/{item_id}"'
        ),
        "utf-8",
    )
    commit(project)

    endpoint("POST /items/import", "--input", "title")

    assert "# An edit.\n@router.get(" in routes.read_text(encoding="utf-8")
