"""`fastapi-senior init` writes what cookiecutter writes, refuses what its hooks refuse."""

import json
import runpy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fastapi_senior import cli
from fastapi_senior.distribution import template_root
from fastapi_senior.errors import Refused
from fastapi_senior.init import command, generation
from tools import variant
from tools.variant import ROOT


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_template: Path) -> None:
    """Run in an empty folder, with another home and the files of the template with values."""
    monkeypatch.setattr(generation, "template_root", lambda: small_template)
    home = tmp_path / "home"
    here = tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)


def init(*arguments: str) -> Result:
    plain = {"COLUMNS": "200", "TERM": "dumb"}
    return CliRunner().invoke(cli.app, ["init", *arguments], catch_exceptions=False, env=plain)


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mode)
        for path in folder.rglob("*")
        if path.is_file()
    }


def refusal(*arguments: str) -> str:
    with pytest.raises(Refused) as refused:
        init(*arguments)
    assert list(Path.cwd().iterdir()) == []
    return str(refused.value)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--db", "sqlite"], "sqlite"),
        (
            ["--db=postgres", "--cache=redis", "--jobs=arq", "--websockets", "--files=s3"],
            "postgresql-redis-arq-websockets-s3",
        ),
    ],
    ids=["barest", "fullest"],
)
def test_writes_what_cookiecutter_writes(
    options: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "template_root", template_root)
    assert init("demo_service", *options).exit_code == 0
    expected = variant.generate(name, tmp_path / "expected")
    assert contents(Path("demo_service")) == contents(expected)


def test_leaves_nothing_outside_of_the_project(tmp_path: Path) -> None:
    init("orders", "--defaults")
    assert list((tmp_path / "home").iterdir()) == []
    assert [path.name for path in Path.cwd().iterdir()] == ["orders"]


def test_ignores_leftovers_of_tools(
    small_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "template"
    shutil.copytree(small_template, template)
    tree = template / "{{cookiecutter.project_slug}}"
    for path in ("src/app/__pycache__/main.cpython-313.pyc", ".venv/bin/x", ".mypy_cache/x"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(b"\xff")
    monkeypatch.setattr(generation, "template_root", lambda: template)
    init("orders", "--defaults")
    assert Path("orders/pyproject.toml").is_file()
    found = {part for path in Path("orders").rglob("*") for part in path.parts}
    assert not found & variant.LEFT_BY_TOOLS


@pytest.mark.parametrize(
    ("name", "folder", "title", "slug"),
    [
        ("my_api", "my_api", "My Api", "my-api"),
        ("services/orders", "services/orders", "Orders", "orders"),
        ("Order Desk", "order-desk", "Order Desk", "order-desk"),
        ("ada's", "ada's", "Ada's", "ada-s"),
    ],
)
def test_derives_names(name: str, folder: str, title: str, slug: str) -> None:
    output = init(name, "--db", "sqlite").output
    assert output.startswith(f"cd {folder} && git init" if "'" not in name else "cd ")
    assert f'name = "{slug}"' in (Path(folder) / "pyproject.toml").read_text(encoding="utf-8")
    assert title in (Path(folder) / "README.md").read_text(encoding="utf-8")


def test_takes_texts_and_choices() -> None:
    init(
        *("orders", "--title=Ordering", "--description=Takes orders", "--author-name=Ada"),
        *("--author-email=ada@example.com", "--python=3.12", "--ci=gitlab", "--license=Apache-2.0"),
    )
    settings = Path("orders/pyproject.toml").read_text(encoding="utf-8")
    for text in ("Takes orders", "Ada", "ada@example.com", "Apache-2.0"):
        assert text in settings
    assert "Ordering" in Path("orders/README.md").read_text(encoding="utf-8")
    assert Path("orders/.python-version").read_text(encoding="utf-8").strip() == "3.12"
    assert Path("orders/.gitlab-ci.yml").is_file()


def test_writes_into_an_empty_folder() -> None:
    Path("orders").mkdir()
    assert init("orders", "--defaults").exit_code == 0
    assert Path("orders/pyproject.toml").is_file()


def test_prints_the_next_steps_of_the_hook() -> None:
    steps = init("orders", "--defaults").output.splitlines()
    assert steps[0] == "cd orders && git init"
    assert "uv run app dev" in steps[1]
    assert "git commit" in steps[2]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["orders", "--db=oracle"], "--db: there is no `oracle`. There are postgresql, sqlite."),
        (["orders", "--license=GPL"], "--license: there is no `GPL`."),
        (["orders", "--python=2.7"], "--python: there is no `2.7`."),
        (["orders", "--jobs=arq"], "--jobs arq: arq needs Redis; enable --cache redis as well."),
        (["orders", "--author-email=x"], "--author-email: 'x' is not an e-mail address"),
        (["orders", "--description=a {{ 1 }}"], "--description: must not contain {{"),
        (["orders", "--title= "], "--title: must not be empty."),
        (["fastapi"], "NAME: fastapi is the name of a package"),
        (["x" * 300], "--title: must have at most 200 characters, not 300."),
        ([" "], "The name is empty."),
    ],
)
def test_refuses(arguments: list[str], reason: str) -> None:
    assert reason in refusal(*arguments, "--defaults")


def test_reports_all_reasons_at_once() -> None:
    message = refusal("orders", "--jobs=arq", "--author-email=x", "--title= ")
    assert message.count("\n  - ") == 3


@pytest.mark.parametrize("content", ["file", "folder"])
def test_keeps_what_exists(content: str) -> None:
    if content == "file":
        Path("orders").write_text("mine", encoding="utf-8")
    else:
        Path("orders").mkdir()
        Path("orders/notes.txt").write_text("mine", encoding="utf-8")
    before = contents(Path.cwd())
    with pytest.raises(Refused, match="orders already exists"):
        init("orders", "--defaults")
    assert contents(Path.cwd()) == before


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "empty"])
def test_leaves_nothing_if_the_folder_cannot_be_written(
    is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("services/orders")
    if is_there:
        folder.mkdir(parents=True)
    before = sorted(Path.cwd().rglob("*"))
    copy = shutil.copytree

    def full(*arguments: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
        copy(*arguments, **options)
        if arguments[1] == folder:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copytree", full)
    with pytest.raises(Refused, match="can't be written: No space left on device"):
        init(str(folder), "--defaults")
    assert sorted(Path.cwd().rglob("*")) == before


def test_refuses_a_folder_below_a_file() -> None:
    Path("notes").write_text("mine", encoding="utf-8")
    with pytest.raises(Refused, match="notes/orders can't be written"):
        init("notes/orders", "--defaults")


class _Terminal:
    def isatty(self) -> bool:
        return True


def _ask(monkeypatch: pytest.MonkeyPatch, replies: Mapping[str, object]) -> list[str]:
    """Answer the questions in a terminal; return those that were asked."""
    asked: list[str] = []

    def reply(question: str, default: object, *_: object) -> object:
        asked.append(question)
        return replies.get(question, default)

    def choose(question: str, options: list[str], *_: object) -> object:
        return reply(question, options[0])

    for name in ("read_user_variable", "read_user_yes_no"):
        monkeypatch.setattr(f"cookiecutter.prompt.{name}", reply)
    monkeypatch.setattr("cookiecutter.prompt.read_user_choice", choose)
    monkeypatch.setattr(command, "sys", type("sys", (), {"stdin": _Terminal()}))
    return asked


def test_asks_in_a_terminal_without_options(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _ask(monkeypatch, {"database": "sqlite", "use_s3": True, "project_name": "Desk"})
    init("orders")
    assert asked == list(variant.questions())
    settings = Path("orders/pyproject.toml").read_text(encoding="utf-8")
    assert "aiosqlite" in settings
    assert "aioboto3" in settings
    assert "Desk" in Path("orders/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("option", ["--defaults", "--no-websockets", "--db=sqlite"])
def test_asks_nothing_with_an_option(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _ask(monkeypatch, {})
    init("orders", option)
    assert asked == []


@pytest.mark.parametrize(
    ("slug", "reason"),
    [("a/b", "The slug must be one folder name without a slash"), ("Bad", "must be lower-case")],
)
def test_refuses_a_reply(slug: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _ask(monkeypatch, {"project_slug": slug})
    assert reason in refusal("orders")


def test_every_question_has_an_option() -> None:
    help_ = init("--help").output
    content = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    assert list(generation.OPTIONS) == list(variant.questions())
    for question, option in generation.OPTIONS.items():
        assert option.split()[0].lower() in help_.lower()
        if isinstance(content[question], list):
            assert all(f"{each}".removesuffix("ql") in help_ for each in content[question])


def test_the_hooks_stay_silent_and_unexecuted(capfd: pytest.CaptureFixture[str]) -> None:
    generation.generate(Path("orders"), generation.answer({"project_name": "Orders"}, ask=False))
    assert capfd.readouterr() == ("", "")


def test_a_refusal_is_a_sentence_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["fastapi-senior", "init", "fastapi", "--defaults"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("fastapi_senior", run_name="__main__")
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Invalid answers; no files were written:\n  - NAME: ")
