"""Names and descriptions are preserved, whatever characters they have."""

import ast
import email.parser
import runpy
import subprocess
import sys
import tomllib
import unicodedata
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hooks import pre_gen_project
from tests import manifest
from tests.conftest import Bake

NASTY = (
    'Say "hi" and \'bye\' \\ \\n \\" \\',
    "<b>Tom & Jerry</b> &amp; [link](x) *stars* _lines_ `code` ~~gone~~ $x$ | # Ünïcödé",
    "\U0001f600 \U0001f469\u200d\U0001f4bb \u65e5\u672c \u0627\u0644\u0639 \u0915\u094d\u0937",
    "'''\"\"\"",
    "# 1. - + > heading # ##",
    "%s {0} ${HOME} $(id) `id` !x; rm -rf / #",
    "x" * 200,
    'a "quoted" backslash\\' * 9,
)


def _printable(limit: int) -> st.SearchStrategy[str]:
    """Texts that the hook accepts, with many special characters."""
    meaningful = st.sampled_from("\"'\\`*_{}[]()<>#+-.!|&~$%:;=@/?^,0 \u00e9\u20ac\U0001f600")
    anything = st.characters(exclude_categories=pre_gen_project.INVISIBLE)
    texts = st.text(meaningful | anything, min_size=1, max_size=limit)
    return texts.map(str.strip).filter(
        lambda text: text != "" and not any(marker in text for marker in pre_gen_project.MARKERS)
    )


def _assert_unharmed(project: Path, texts: Mapping[str, str]) -> None:
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["description"] == texts["description"]
    assert metadata["authors"][0]["name"] == texts["author_name"]

    strings = {
        node.value
        for node in ast.walk(ast.parse((project / "src/app/about.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
    }
    assert texts["project_name"] in strings

    tokens = MarkdownIt("commonmark").parse((project / "README.md").read_text(encoding="utf-8"))
    shown = [
        "".join(
            part.content for part in token.children or () if part.type in {"text", "text_special"}
        )
        for token in tokens
        if token.type == "inline"
    ]
    assert shown[0] == texts["project_name"]
    assert any(texts["description"] in text for text in shown)

    licence = (project / "LICENSE").read_text(encoding="utf-8")
    assert f"Copyright (c) {texts['author_name']}\n" in licence


def _rendered_with_values() -> list[str]:
    """Return the Python files that contain the value of an answer."""
    return [
        path
        for path in sorted(manifest.files(manifest.TREE))
        if path.endswith(".py")
        and "cookiecutter." in (manifest.TREE / path).read_text(encoding="utf-8")
    ]


def _assert_clean(project: Path) -> None:
    python = [path for path in _rendered_with_values() if (project / path).exists()]
    for command in (["format", "--check"], ["check", "--output-format=concise"]):
        done = subprocess.run(
            ["ruff", *command, "--no-cache", *python],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", NASTY)
def test_special_characters_are_preserved(bake_values: Bake, text: str) -> None:
    texts = {"project_name": text, "description": text, "author_name": text}
    project = bake_values({**texts, "project_slug": "odd"})
    _assert_unharmed(project, texts)
    _assert_clean(project)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=_printable(200), description=_printable(500), author=_printable(200))
@example(name="\\", description="'", author='"')
def test_any_text_is_preserved(bake_values: Bake, name: str, description: str, author: str) -> None:
    texts = {"project_name": name, "description": description, "author_name": author}
    _assert_unharmed(bake_values({**texts, "project_slug": "odd", "database": "sqlite"}), texts)


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(), max_size=40))
def test_every_text_is_accepted_or_refused_with_a_message(text: str) -> None:
    answers: dict[str, Any] = {
        "project_name": text,
        "project_slug": "odd",
        "description": "x",
        "author_name": "x",
        "author_email": "me@example.com",
        "use_redis": False,
        "use_arq": False,
    }
    found = pre_gen_project.problems(answers)
    hidden = [c for c in text if unicodedata.category(c) == "Cc"]
    assert bool(found) or (text.strip() == text != "" and not hidden)
    assert all(line.startswith("project_name: ") and line.endswith(".") for line in found)
    assert all(line.isprintable() for line in found)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My Service", "my-service"),
        ("  Ünïcödé Sérvice  ", "unicode-service"),
        ("3 Musketeers", "musketeers"),
        ("\U0001f600", "my-service"),
        ("日本語", "ri-ben-yu"),
        ("x" * 200, "x" * 40),
        ("a" * 39 + " b", "a" * 39),
    ],
)
def test_the_default_slug_is_valid(bake: Bake, name: str, slug: str) -> None:
    project = bake({"project_name": name.strip()})
    assert project.name == slug
    assert pre_gen_project.SLUG.fullmatch(slug)


def test_the_wheel_has_its_metadata_and_no_development_code(
    bake: Bake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '"Tom\'s" Ünïcödé \\ <service>, & "co." \U0001f600 "x"'
    project = bake({"project_slug": "odd", "description": text, "author_name": text})
    subprocess.run(
        [
            *("uv", "build", "--wheel", "--quiet", "--python", sys.executable),
            *("--out-dir", str(tmp_path), str(project)),
        ],
        check=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [name for name in names if name.endswith("/METADATA")]
        parsed = email.parser.Parser().parsestr(archive.read(metadata).decode("utf-8"))
    assert parsed["Name"] == "odd"
    assert parsed["Summary"] == text
    licence = manifest.DEFAULTS["license"]
    assert parsed["License-Expression"] in {licence, f"LicenseRef-{licence}"}
    assert {name.split("/")[0] for name in names} == {"app", "odd-0.1.0.dist-info"}

    monkeypatch.syspath_prepend(wheel)
    about = runpy.run_path(str(project / "src/app/about.py"))
    assert about["CONTACT"] == {"name": text, "email": manifest.DEFAULTS["author_email"]}
