"""Invalid answers are refused with all reasons at once, and no files are written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.variant import ROOT


@pytest.fixture
def refuse(tmp_path: Path, template: Path) -> "Refusal":
    return Refusal(tmp_path, template)


class Refusal:
    """Runs cookiecutter, expects a refusal, and returns the messages."""

    def __init__(self, tmp_path: Path, template: Path) -> None:
        self.template = template
        self.output = tmp_path / "output"
        self.output.mkdir()
        self.config = tmp_path / "config.yaml"
        self.config.write_text(
            f"cookiecutters_dir: {tmp_path / 'cache'}\nreplay_dir: {tmp_path / 'replay'}\n",
            encoding="utf-8",
        )
        self.known = {"output", "config.yaml", "cache", "replay"}

    def __call__(self, **answers: str) -> str:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "cookiecutter", str(self.template), "--no-input"),
                *("--config-file", str(self.config), "--output-dir", str(self.output)),
                *(f"{key}={value}" for key, value in answers.items()),
            ],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        messages = done.stdout + done.stderr
        assert done.returncode == 1, messages
        assert list(self.output.iterdir()) == []
        assert {path.name for path in self.output.parent.iterdir()} <= self.known
        return messages


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("project_name", " ", "project_name: must not be empty"),
        ("project_name", " x", "project_name: must not begin or end with white space"),
        ("project_name", "a\nb", "such as line breaks (U+000A)"),
        ("project_name", "a\tb", "(U+0009)"),
        ("project_name", "a\x1bb", "(U+001B)"),
        ("project_name", "a\u202eb", "(U+202E)"),
        ("project_name", "a\u2028b", "(U+2028)"),
        ("project_name", "a\ufeffb", "(U+FEFF)"),
        ("project_name", "x" * 201, "project_name: must have at most 200 characters, not 201"),
        ("description", "", "description: must not be empty"),
        ("description", "x" * 501, "description: must have at most 500 characters, not 501"),
        (
            "description",
            "a {{ '{' * 2 }} b",
            "description: must not contain {{, which starts template code",
        ),
        ("description", "a {% b", "description: must not contain {%"),
        ("author_name", "", "author_name: must not be empty"),
        ("author_name", "x" * 201, "author_name: must have at most 200 characters"),
        ("author_email", "nobody", "author_email: 'nobody' is not an e-mail address"),
        ("author_email", "a@b", "author_email: 'a@b' is not an e-mail address"),
        ("author_email", "a b@example.com", "is not an e-mail address"),
        ("author_email", 'a"@example.com', "is not an e-mail address"),
        ("author_email", "", "author_email: '' is not an e-mail address"),
        ("author_email", "a" * 250 + "@example.com", "is not an e-mail address"),
        ("project_slug", "My-Service", "project_slug: 'My-Service' must be lower-case"),
        ("project_slug", "my_service", "must be lower-case"),
        ("project_slug", "-x", "must be lower-case"),
        ("project_slug", "x-", "must be lower-case"),
        ("project_slug", "a--b", "must be lower-case"),
        ("project_slug", "1st", "begin with a letter"),
        ("project_slug", "s\u00e9rvice", "'s\\xe9rvice' must be lower-case"),
        ("project_slug", "a" * 51, "project_slug: must have at most 50 characters, not 51"),
        ("project_slug", "fastapi", "project_slug: fastapi is the name of a package"),
        ("project_slug", "a/b", "The slug must be one folder name without a slash"),
        ("project_slug", "../a", "The slug must be one folder name without a slash"),
        ("project_slug", "..", "already exists"),
        ("project_slug", "", "already exists"),
    ],
)
def test_refuses(refuse: Refusal, key: str, value: str, reason: str) -> None:
    assert reason in refuse(**{key: value})


def test_reports_all_reasons_at_once(refuse: Refusal) -> None:
    messages = refuse(
        project_name="x" * 201 + "\x07",
        project_slug="Bad Slug",
        description="",
        author_name=" ",
        author_email="nobody",
    )
    lines = [line for line in messages.splitlines() if line.startswith("  - ")]
    assert [line.split(":")[0].removeprefix("  - ") for line in lines] == [
        "project_name",
        "project_name",
        "description",
        "author_name",
        "project_slug",
        "author_email",
    ]
    assert all(line.endswith(".") for line in lines)
    assert "no files were written" in messages


def test_refuses_jobs_without_redis(refuse: Refusal) -> None:
    messages = refuse(use_arq="true")
    assert "use_arq: arq needs Redis; enable use_redis as well." in messages
    assert messages.count("  - ") == 1
    messages = refuse(use_arq="true", use_redis="no", author_email="nobody")
    assert messages.count("  - ") == 2


def test_refuses_an_unknown_choice(tmp_path: Path, template: Path) -> None:
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "cookiecutter",
                str(template),
                "--no-input",
                "--default-config",
            ),
            *("--output-dir", str(tmp_path), "database=oracle"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "oracle provided for choice variable database" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_leaves_an_existing_folder_unchanged(refuse: Refusal, template: Path) -> None:
    mine = refuse.output / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep", encoding="utf-8")
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "cookiecutter",
                str(template),
                "--no-input",
                "--default-config",
            ),
            *("--output-dir", str(refuse.output), "project_slug=mine"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "already exists" in done.stdout + done.stderr
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]


def test_asks_only_the_questions() -> None:
    content = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    asked = [key for key in content if not key.startswith("_")]
    assert asked == [
        "project_name",
        "project_slug",
        "description",
        "author_name",
        "author_email",
        "database",
        "use_redis",
        "use_arq",
        "use_websockets",
        "use_s3",
        "python_version",
        "ci",
        "license",
    ]
    prompts = content["__prompts__"]
    assert list(prompts) == asked
    for key in asked:
        choices = content[key]
        if isinstance(choices, list):
            assert set(prompts[key]) == {"__prompt__", *choices}
