"""Unit tests of the hooks."""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hooks import post_gen_project, pre_gen_project
from tests import manifest
from tools.variant import ROOT

ANSWERS = {
    "project_name": "My Service",
    "project_slug": "my-service",
    "description": "A service",
    "author_name": "Me",
    "author_email": "me@example.com",
    "use_redis": False,
    "use_arq": False,
}
HOOKS = sorted((ROOT / "hooks").glob("*_project.py"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with a manifest of every kind of rule."""
    for path in (
        "keep.py",
        "db.py",
        "db_lite.py",
        "a/b/c/queue.py",
        "cache/one.py",
        "note.txt",
        "shared.py",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path, encoding="utf-8")
    (tmp_path / post_gen_project.MANIFEST).write_text(
        """
        [answers.database.big]
        [answers.database.lite]
        only = ["note.txt"]
        replace = { "db.py" = "db_lite.py" }
        [answers.use_queue.true]
        only = ["a/b/c/queue.py", "cache"]
        [answers.use_cache.true]
        only = ["cache"]
        [[unless]]
        answers = { use_queue = false, use_cache = false }
        remove = ["shared.py"]
        """,
        encoding="utf-8",
    )
    return tmp_path


def _tree(project: Path) -> dict[str, str]:
    return {
        path.relative_to(project).as_posix(): path.read_text(encoding="utf-8")
        for path in project.rglob("*")
        if path.is_file()
    }


def test_post_gen_keeps_the_files_of_the_answers(project: Path) -> None:
    answers = {"database": "lite", "use_queue": True, "use_cache": True}
    post_gen_project.apply(project, answers)
    assert _tree(project) == {
        "keep.py": "keep.py",
        "db.py": "db_lite.py",
        "a/b/c/queue.py": "a/b/c/queue.py",
        "cache/one.py": "cache/one.py",
        "note.txt": "note.txt",
        "shared.py": "shared.py",
    }


def test_post_gen_deletes_other_files_and_empty_folders(project: Path) -> None:
    post_gen_project.apply(project, {"database": "big", "use_queue": False, "use_cache": True})
    assert _tree(project) == {
        "keep.py": "keep.py",
        "db.py": "db.py",
        "shared.py": "shared.py",
    }
    assert not (project / "a").exists()


def test_post_gen_deletes_files_that_no_answer_needs(project: Path) -> None:
    post_gen_project.apply(project, {"database": "big", "use_queue": False, "use_cache": False})
    assert _tree(project) == {"keep.py": "keep.py", "db.py": "db.py"}


def test_post_gen_keeps_a_path_of_two_answers_only_with_both(project: Path) -> None:
    post_gen_project.apply(project, {"database": "big", "use_queue": True, "use_cache": False})
    assert not (project / "cache").exists()
    assert (project / "a/b/c/queue.py").exists()


def test_post_gen_is_idempotent(project: Path) -> None:
    answers = {"database": "lite", "use_queue": True, "use_cache": False}
    post_gen_project.apply(project, answers)
    once = _tree(project)
    post_gen_project.apply(project, answers)
    assert _tree(project) == once


def test_post_gen_resumes_after_an_interruption(project: Path) -> None:
    answers = {"database": "lite", "use_queue": False, "use_cache": True}
    before = (project / post_gen_project.MANIFEST).read_text(encoding="utf-8")
    post_gen_project.apply(project, answers)
    once = _tree(project)
    (project / post_gen_project.MANIFEST).write_text(before, encoding="utf-8")
    (project / "a/b/c").mkdir(parents=True)
    (project / "a/b/c/queue.py").touch()
    post_gen_project.apply(project, answers)
    assert _tree(project) == once


def test_post_gen_changes_the_working_directory(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    answers = {"database": "big", "use_queue": False, "use_cache": False}
    assert post_gen_project.main(answers) == 0
    assert sorted(_tree(project)) == ["db.py", "keep.py"]


def test_post_gen_prints_the_next_steps_and_runs_none(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    answers = {"database": "big", "use_queue": True, "use_cache": True}
    assert post_gen_project.main(answers) == 0
    first, second, third = capfd.readouterr().out.splitlines()
    assert first == f"cd {project.name} && git init"
    assert second.startswith("uv run app dev ")
    assert third.startswith("git add . && git commit ")
    assert not {".git", ".venv", "uv.lock"} & {path.name for path in project.iterdir()}


def test_pre_gen_accepts_good_answers(capfd: pytest.CaptureFixture[str]) -> None:
    assert pre_gen_project.main(ANSWERS) == 0
    assert capfd.readouterr() == ("", "")


def test_pre_gen_reports_invalid_answers(capfd: pytest.CaptureFixture[str]) -> None:
    assert pre_gen_project.main(ANSWERS | {"author_email": "x"}) == 1
    messages = capfd.readouterr().err
    assert messages.splitlines()[1:] == [
        "  - author_email: 'x' is not an e-mail address such as me@example.com."
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a\u200db",
        "\U0001f469\u200d\U0001f4bb",
        "e\u0301",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    ],
)
def test_pre_gen_accepts_joiners_that_words_and_emoji_need(text: str) -> None:
    assert pre_gen_project.problems(ANSWERS | {"project_name": text}) == []


@pytest.mark.parametrize(
    "email", ["a@example.com", "a.b+c@sub.example.co.uk", "A_1%x@xn--bcher-kva.example"]
)
def test_pre_gen_accepts_addresses(email: str) -> None:
    assert pre_gen_project.problems(ANSWERS | {"author_email": email}) == []


@pytest.mark.parametrize(
    "email",
    ["a.@example.com", ".a@example.com", "a@-x.com", "a@x-.com", "a@x..com", "a@x.c", "a@@x.de"],
)
def test_pre_gen_refuses_addresses(email: str) -> None:
    assert len(pre_gen_project.problems(ANSWERS | {"author_email": email})) == 1


def test_pre_gen_knows_every_dependency() -> None:
    metadata = tomllib.loads((manifest.TREE / "pyproject.toml").read_text(encoding="utf-8"))
    groups = [metadata["project"]["dependencies"], *metadata["dependency-groups"].values()]
    asked = {line.split(">=")[0].split("[")[0] for group in groups for line in group}
    assert asked <= pre_gen_project.TAKEN


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_hooks_import_only_the_standard_library(hook: Path) -> None:
    tree = ast.parse(hook.read_text(encoding="utf-8"))
    imported = {
        name.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for name in node.names
    } | {
        str(node.module).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    assert imported <= sys.stdlib_module_names
    assert not imported & {"http", "random", "secrets", "socket", "subprocess", "time", "urllib"}


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_hooks_take_answers_as_data(hook: Path, tmp_path: Path) -> None:
    evil = '"""); import pathlib; pathlib.Path("owned").touch(); r("""'
    text = hook.read_text(encoding="utf-8")
    rendered = text.replace(
        "{{ cookiecutter | jsonify }}", json.dumps(ANSWERS | {"project_name": evil})
    )
    assert rendered != text
    script = tmp_path / hook.name
    script.write_text(rendered, encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == [hook.name]


def test_the_manifest_has_existing_paths_and_known_answers() -> None:
    content = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    for rule in manifest.rules():
        choices = content[rule.question]
        values = choices if isinstance(choices, list) else ["true", "false"]
        assert rule.value in values
        for path in (*rule.only, *rule.replace, *rule.replace.values()):
            assert (manifest.TREE / path).exists(), path
        assert all(word == word.lower() for word in rule.words)


def test_the_manifest_has_no_unknown_key() -> None:
    content = manifest.load()
    assert set(content) <= {"directives", "answers", "unless"}
    answers = content["answers"]
    assert isinstance(answers, dict)
    for values in answers.values():
        for rule in values.values():
            assert set(rule) <= {"only", "replace", "words"}


def test_the_manifest_knows_every_variant_file() -> None:
    pairs = [
        (Path(path), Path(other)) for r in manifest.rules() for path, other in r.replace.items()
    ]
    suffixes = {other.stem.removeprefix(path.stem) for path, other in pairs}
    assert all(path.parent == other.parent for path, other in pairs)
    assert all(suffix.startswith("_") for suffix in suffixes)
    files = {Path(path) for path in manifest.files(manifest.TREE)}
    look_like_one = {
        file
        for file in files
        for suffix in suffixes
        if file.stem.endswith(suffix) and file.with_stem(file.stem.removesuffix(suffix)) in files
    }
    known = {path for rule in manifest.rules() for path in (*rule.only, *rule.replace.values())}
    assert {file.as_posix() for file in look_like_one} <= known


def _public(path: Path) -> dict[str, str]:
    """Return the public names of a module, with the arguments of functions."""
    found: dict[str, str] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = ast.unparse(node.args)
        elif isinstance(node, ast.ClassDef):
            found[node.name] = ""
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: "" for target in targets if isinstance(target, ast.Name)}
    return found


def _imported_by(users: set[str]) -> dict[str, set[str]]:
    """Return the names that these files import, by module."""
    found: dict[str, set[str]] = {}
    for user in users:
        for node in ast.walk(ast.parse((manifest.TREE / user).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                found.setdefault(node.module, set()).update(name.name for name in node.names)
    return found


def test_variant_files_have_the_same_public_names() -> None:
    rules = manifest.rules()
    of_one = {path for rule in rules for path in (*rule.only, *rule.replace)}
    of_one |= {other for rule in rules for other in rule.replace.values()}
    python = {path for path in manifest.files(manifest.TREE) if path.endswith(".py")}
    imported = _imported_by({path for path in python if not manifest.under(path, of_one)})
    for path, other in ((p, t) for rule in rules for p, t in rule.replace.items()):
        if not path.endswith(".py"):
            continue
        module = path.removeprefix("src/").removesuffix(".py").replace("/", ".")
        wanted = imported.get(module, set())
        ours, theirs = _public(manifest.TREE / path), _public(manifest.TREE / other)
        assert wanted <= set(ours), path
        assert {name: ours[name] for name in wanted} == {
            name: theirs.get(name) for name in wanted
        }, other
