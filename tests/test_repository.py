"""Files in git have no local paths, open ends or dead links."""

import re
import subprocess
from pathlib import Path

import pytest

from tools.variant import ROOT

# Spelled in pieces, so that this file does not find itself.
OPEN_ENDS = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
ABSOLUTE = re.compile(r"(?<![\w.~/\]}-])/(?:ho" + r"me|ro" + r"ot|wo" + r"rk|Us" + r"ers)/[\w.-]+")
REGISTRY = re.compile(
    r"index[-_]url|extra-index|trusted-host|\[\[tool\.uv\.index\]\]|registry\.npmjs|artifactory"
    r"|\bmirror\b\s*[:=]",
    re.IGNORECASE,
)
LINK = re.compile(r"\[[^\]]*\]\((?!https?://|mailto:|#)([^)#\s]+)")


def _tracked() -> list[str]:
    """Return the files in git, untracked ones included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()]


def _lines() -> list[tuple[str, str]]:
    return [
        (f"{path}:{number}", line)
        for path in _tracked()
        if not path.startswith("tests/test_repository")
        for number, line in enumerate(
            (ROOT / path).read_text(encoding="utf-8").splitlines(), start=1
        )
    ]


@pytest.mark.parametrize("pattern", [OPEN_ENDS, ABSOLUTE, REGISTRY], ids=["open", "path", "mirror"])
def test_no_line_has(pattern: re.Pattern[str]) -> None:
    assert [place for place, line in _lines() if pattern.search(line)] == []


@pytest.mark.parametrize("path", [path for path in _tracked() if path.endswith(".md")])
def test_links_have_targets(path: str) -> None:
    file = ROOT / path
    links = LINK.findall(file.read_text(encoding="utf-8"))
    assert [link for link in links if not (file.parent / link).exists()] == []


def test_commands_of_the_readme_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert "cookiecutter gh:org/fastapi-senior" in readme
    assert "tox -m matrix" in readme
    assert "tox -m matrix" in ci
    for label in re.findall(r"tox -m (\w+)", readme):
        assert re.search(rf"^    {label} = ", tox, re.MULTILINE)
    for environment in re.findall(r"tox -e ([\w-]+)", readme):
        assert environment.split("-")[0] in tox


def test_shell_scripts_are_valid_and_executable() -> None:
    for script in [ROOT / ".ci/run", *(ROOT / path for path in _tracked() if path.endswith(".sh"))]:
        subprocess.run(["bash", "-n", str(script)], check=True)
        assert script.stat().st_mode & 0o100


def test_every_question_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    content = (ROOT / "cookiecutter.json").read_text(encoding="utf-8")
    for key in re.findall(r'^  "([a-z]\w*)":', content, re.MULTILINE):
        assert f"`{key}`" in readme


def test_the_root_has_the_usual_files() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", ".gitignore"):
        assert Path(ROOT, name).is_file()
