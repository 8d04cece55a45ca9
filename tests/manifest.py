"""The manifest, read independently of the hook, to check the hook."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools.variant import LEFT_BY_TOOLS, ROOT, questions

TREE = ROOT / "{{cookiecutter.project_slug}}"
NAME = ".template.toml"
DEFAULTS: dict[str, Any] = {
    key: value[0] if isinstance(value, list) else value for key, value in questions().items()
}
"""The default answers."""


@dataclass(frozen=True, slots=True)
class Rule:
    """An entry of the manifest: a value of a question."""

    question: str
    value: str
    only: tuple[str, ...]
    replace: Mapping[str, str]
    words: tuple[str, ...]

    def chosen(self, answers: Mapping[str, object]) -> bool:
        """Return whether these answers have this value; booleans are `true` or `false`."""
        answer = answers[self.question]
        spelled = str(answer).lower() if isinstance(answer, bool) else answer
        return spelled == self.value


def load() -> Mapping[str, object]:
    """Return the manifest of the tree."""
    return tomllib.loads((TREE / NAME).read_text(encoding="utf-8"))


@cache
def rules() -> tuple[Rule, ...]:
    """Return every rule of the manifest."""
    answers = load()["answers"]
    assert isinstance(answers, dict)
    return tuple(
        Rule(
            question,
            value,
            tuple(rule.pop("only", ())),
            rule.pop("replace", {}),
            tuple(rule.pop("words", ())),
        )
        for question, values in answers.items()
        for value, rule in values.items()
    )


def directives() -> Mapping[str, str]:
    """Return the files that may hold directives, with their reasons."""
    found = load()["directives"]
    assert isinstance(found, dict)
    return found


def unless() -> list[Mapping[str, Any]]:
    """Return the files that several answers leave out together."""
    found = load().get("unless", [])
    assert isinstance(found, list)
    return found


def files(folder: Path) -> set[str]:
    """Return the paths of all files below a folder, without leftovers of tools."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not LEFT_BY_TOOLS & set(path.parts)}


def expected_files(answers: Mapping[str, object], tree: Path = TREE) -> set[str]:
    """Return the files of a project with these answers."""
    left_out = [path for rule in rules() if not rule.chosen(answers) for path in rule.only]
    left_out += [
        path
        for together in unless()
        if all(answers[question] == value for question, value in together["answers"].items())
        for path in together["remove"]
    ]
    variants = [path for rule in rules() for path in rule.replace.values()]
    return {path for path in files(tree) if not under(path, [*left_out, *variants, NAME])}


def under(path: str, places: Iterable[str]) -> bool:
    """Return whether a path is one of the places or below one of them."""
    return any(path == place or path.startswith(f"{place}/") for place in places)


def foreign_words(answers: Mapping[str, object]) -> set[str]:
    """Return the words banned from a project with these answers."""
    all_rules = rules()
    own = {word for rule in all_rules if rule.chosen(answers) for word in rule.words}
    return {word for rule in all_rules for word in rule.words} - own
