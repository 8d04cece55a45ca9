"""The raw tree is a real project: it compiles, is formatted, lint-free and typed."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests import manifest
from tools.variant import ROOT

DIRECTIVE = re.compile(r"^\s*# \{%-?\s*(\w+)(.*?)%\}\s*$")
BLOCK = re.compile(r"^\s*# \{%-?\s*(block|endblock)(?:\s+(\w+))?\s*[+-]?%\}\s*$")
TEMPLATES = ROOT / "src/fastapi_senior/resource/templates"
EXPRESSION = re.compile(r"\{\{.{0,80}?\}\}|\{\{|\{#", re.DOTALL)
VALUE = re.compile(r"\{\{ (?:cookiecutter\.\w+|\"\{\{\") \}\}")
KEY = re.compile(r"\bcookiecutter\.(\w+)")


def _texts() -> dict[str, str]:
    return {
        path: (manifest.TREE / path).read_text(encoding="utf-8")
        for path in sorted(manifest.files(manifest.TREE))
    }


def test_every_python_file_compiles() -> None:
    for path, text in _texts().items():
        if path.endswith(".py"):
            compile(text, path, "exec", dont_inherit=True)


def test_every_yaml_file_is_valid_and_has_each_key_once() -> None:
    for path, text in _texts().items():
        if path.endswith((".yaml", ".yml")):
            nodes = [yaml.compose(text)]
            while nodes:
                node = nodes.pop()
                if isinstance(node, yaml.MappingNode):
                    keys = [key.value for key, _ in node.value]
                    assert len(keys) == len(set(keys)), (path, keys)
                    nodes += [value for _, value in node.value]
                elif isinstance(node, yaml.SequenceNode):
                    nodes += node.value


def test_has_no_leftovers_of_a_test_run() -> None:
    empty = {path for path, text in _texts().items() if not text}
    assert {path for path in empty if not path.endswith("__init__.py")} == set()


@pytest.mark.parametrize("command", [["format", "--diff"], ["check", "--output-format=concise"]])
def test_is_formatted_and_has_no_lint(command: list[str]) -> None:
    done = subprocess.run(
        ["ruff", *command, "--no-cache", "."],
        cwd=manifest.TREE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_has_no_type_error(tmp_path: Path) -> None:
    metadata = tomllib.loads((manifest.TREE / "pyproject.toml").read_text(encoding="utf-8"))
    needed = tmp_path / "requirements.txt"
    asked = [*metadata["project"]["dependencies"], *metadata["dependency-groups"]["dev"]]
    # Of a dependency in two versions, one per answer, the first: reversed, it wins.
    by_name = {re.split(r"[\[<>=]", line)[0]: line for line in reversed(asked)}
    needed.write_text("\n".join(by_name.values()), encoding="utf-8")
    cache = Path(os.environ.get("MYPY_CACHE_DIR", ROOT / ".mypy_cache")) / "tree"
    # An environment that uv makes for the moment, from its own cache: the tree stays as it is.
    done = subprocess.run(
        [
            *("uv", "run", "--no-project", "--isolated", "--python", sys.executable),
            *("--with-requirements", str(needed), "mypy", "--cache-dir", str(cache)),
        ],
        cwd=manifest.TREE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_answers_are_values_without_filters() -> None:
    odd = [
        f"{path}: {found}"
        for path, text in _texts().items()
        for found in EXPRESSION.findall(text)
        if not VALUE.fullmatch(found)
    ]
    assert odd == []


def test_every_referenced_answer_exists() -> None:
    content = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    places = _texts() | {"cookiecutter.json": json.dumps(content)}
    places |= {
        hook.name: hook.read_text(encoding="utf-8") for hook in (ROOT / "hooks").glob("*.py")
    }
    for path, text in places.items():
        assert set(KEY.findall(text)) <= set(content) | {"json"}, path


def test_every_answer_is_used() -> None:
    content = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    asked = {key for key in content if not key.startswith("_")}
    derived = set(KEY.findall(json.dumps([content[key] for key in content if key[:2] == "__"])))
    used = {key for text in _texts().values() for key in KEY.findall(text)}
    by_manifest = {rule.question for rule in manifest.rules()}
    assert asked - used - by_manifest - derived == set()


def test_free_text_is_escaped() -> None:
    """Only the licence, which is plain text, uses unescaped answers."""
    free = re.compile(r"\{\{ cookiecutter\.(project_name|description|author_name) \}\}")
    bare = [path for path, text in _texts().items() if free.search(text)]
    assert [path for path in bare if not path.startswith("LICENSE")] == []
    for path, text in _texts().items():
        kind = "_markdown" if path.endswith(".md") else "_literal"
        wrong = "_literal" if kind == "_markdown" else "_markdown"
        assert not re.search(rf"cookiecutter\.\w+{wrong} ", text), path


def test_directives_are_only_in_the_named_files_and_two_per_question() -> None:
    reasons = manifest.directives()
    assert all(reason.strip() for reason in reasons.values())
    found = set()
    for path, text in _texts().items():
        lines = [line for line in text.splitlines() if "{%" in line and not BLOCK.match(line)]
        if not lines or path == manifest.NAME:
            continue
        matches = [match for line in lines if (match := DIRECTIVE.match(line))]
        assert len(matches) == len(lines), (path, lines)
        words = [match[1] for match in matches]
        assert set(words) <= {"if", "elif", "else", "endif"}, path
        assert words.count("if") == words.count("endif"), path
        asked = Counter(
            question
            for match in matches
            if match[1] == "if"
            for question in set(KEY.findall(match[2]))
        )
        assert {question for question, times in asked.items() if times > 2} == set(), path
        found.add(path)
    assert found == set(reasons)


def test_blocks_are_those_that_templates_of_the_toolkit_override() -> None:
    """A block without a template is left over; a template without its block changes nothing."""
    overridden = {
        path.relative_to(TEMPLATES).as_posix().removesuffix(".jinja"): text
        for path in TEMPLATES.rglob("*.jinja")
        if "{% extends" in (text := path.read_text("utf-8"))
    }
    assert overridden
    for path, text in _texts().items():
        blocks = [match.groups() for line in text.splitlines() if (match := BLOCK.match(line))]
        opened = [name for word, name in blocks if word == "block"]
        wanted = re.findall(r"\{% block (\w+)", overridden.pop(path, ""))
        assert sorted(opened) == sorted(wanted), path
        assert len(blocks) == 2 * len(opened), path
    assert overridden == {}


def test_no_folder_has_a_conditional_name() -> None:
    """An empty name can write outside the project (upstream issue 1518)."""
    assert [path for path in manifest.files(manifest.TREE) if "{" in path or "%" in path] == []
    assert manifest.TREE.name == "{{cookiecutter.project_slug}}"


def test_has_no_lock_file() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.lock"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout == ""


EXAMPLE = re.compile(
    r"\b(?:Items?[A-Z]\w*|Item)\b|\b[A-Z][a-z]+Items?\b|\bitem_\w+|/items\b|\b[Aa]n item\b"
)
"""Identifiers and prose of the example; not `.items()` nor a page's field `items`."""


def test_core_and_infrastructure_do_not_name_the_example() -> None:
    """The contract `layers` checks imports."""
    found = {
        path
        for path, text in _texts().items()
        if path.startswith(("src/app/core/", "src/app/infrastructure/"))
        if EXAMPLE.search(text)
    }
    assert found == set()
