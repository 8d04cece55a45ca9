"""Generates a project by cookiecutter's library, without its files in the home folder."""

import json
import runpy
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from cookiecutter.generate import generate_context, generate_files
from cookiecutter.prompt import prompt_for_config
from jinja2 import UndefinedError

from fastapi_senior.distribution import template_root
from fastapi_senior.errors import Refused

OPTIONS: Final = {
    "project_name": "--title",
    "project_slug": "NAME",
    "description": "--description",
    "author_name": "--author-name",
    "author_email": "--author-email",
    "database": "--db",
    "use_redis": "--cache redis",
    "use_arq": "--jobs arq",
    "use_websockets": "--websockets",
    "use_s3": "--files s3",
    "python_version": "--python",
    "ci": "--ci",
    "license": "--license",
}
"""The option of each question of the template."""

_TREE: Final = "{{cookiecutter.project_slug}}"
_LEFT_BY_TOOLS: Final = shutil.ignore_patterns(
    *("__pycache__", ".*_cache", ".coverage*", ".dev", ".env", ".hypothesis", ".venv", "uv.lock")
)

Answers = Mapping[str, Any]


def answer(given: Answers, *, ask: bool) -> Answers:
    """Return an answer to each question of the template: a given one, or the default.

    Args:
        given: Answers by question.
        ask: Whether to ask in the terminal; the given answers become defaults.

    Raises:
        Refused: Answers are invalid; all are named.
    """
    root = template_root()
    questions = json.loads((root / "cookiecutter.json").read_text(encoding="utf-8"))
    for question, value in given.items():
        choices = questions[question]
        if isinstance(choices, list) and value not in choices:
            raise Refused(
                f"{OPTIONS[question]}: there is no `{value}`. There are {', '.join(choices)}."
            )
    # Before cookiecutter renders them: they are no templates.
    _check(questions | {"project_slug": "slug"} | given)
    context = generate_context(str(root / "cookiecutter.json"), extra_context=dict(given))
    try:
        answers: Answers = prompt_for_config(context, no_input=not ask)
    except UndefinedError as error:
        # In `__project_slug_is_one_folder`, the message is the name of an undefined key.
        raise Refused(str(error.message).split("'")[-2]) from None
    _check(answers)
    return answers


def _check(answers: Answers) -> None:
    found = _hook("pre_gen_project")["problems"](answers)
    if found:
        lines = "".join(f"\n  - {reason}" for reason in found)
        for question, option in OPTIONS.items():
            lines = lines.replace(question, option)
        raise Refused(f"Invalid answers; no files were written:{lines}")


def generate(folder: Path, answers: Answers) -> list[str]:
    """Write a project into a new or empty folder, and return the next steps.

    Raises:
        Refused: The folder has files, or can't be written.
    """
    try:
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise Refused(f"{folder} already exists. Choose another name, or delete it first.")
        with TemporaryDirectory() as place:
            project = _generate(Path(place), answers)
            _copy(project, folder)
    except OSError as error:
        raise Refused(f"{folder} can't be written: {error.strerror or error}.") from error
    steps: list[str] = _hook("post_gen_project")["next_steps"](str(folder))
    return steps


def _generate(place: Path, answers: Answers) -> Path:
    # Without the caches of tools: an installer may have compiled the template's modules.
    template = place / "template"
    shutil.copytree(template_root() / _TREE, template / _TREE, ignore=_LEFT_BY_TOOLS)
    project = generate_files(template, {"cookiecutter": answers}, place, accept_hooks=False)
    _hook("post_gen_project")["apply"](Path(project), answers)
    return Path(project)


def _copy(project: Path, folder: Path) -> None:
    """Copy all files or none."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        shutil.copytree(project, folder, dirs_exist_ok=True)
    except OSError:
        shutil.rmtree(new[-1] if new else folder, ignore_errors=True)
        if not new:
            folder.mkdir(exist_ok=True)
        raise


def _hook(name: str) -> dict[str, Any]:
    return runpy.run_path(str(template_root() / "hooks" / f"{name}.py"))
