"""The manifest, read by the tests in their own way, to check the hook."""

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
"""What a project has if nobody answers anything."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What the manifest says about one value of one question."""

    question: str
    value: str
    only: tuple[str, ...]
    replace: Mapping[str, str]
    append: Mapping[str, str]
    words: tuple[str, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """The files that stand for others or end in others: none of them stays where it is."""
        return (*self.replace.values(), *self.append.values())

    def chosen(self, answers: Mapping[str, object]) -> bool:
        """Tell whether these answers have this value; a boolean is spelled `true` or `false`."""
        answer = answers[self.question]
        spelled = str(answer).lower() if isinstance(answer, bool) else answer
        return spelled == self.value


def load() -> Mapping[str, object]:
    """Return the manifest as it stands in the tree."""
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
            rule.pop("append", {}),
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
    """Return what several answers leave out together."""
    found = load().get("unless", [])
    assert isinstance(found, list)
    return found


def files(folder: Path) -> set[str]:
    """Return the paths of all files below the folder, less what tools leave behind."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not LEFT_BY_TOOLS & set(path.parts)}


def expected_files(answers: Mapping[str, object], tree: Path = TREE) -> set[str]:
    """Return the paths that a project with these answers, made from this tree, must consist of."""
    left_out = [path for rule in rules() if not rule.chosen(answers) for path in rule.only]
    left_out += [
        path
        for together in unless()
        if all(answers[question] == value for question, value in together["answers"].items())
        for path in together["remove"]
    ]
    parts = [part for rule in rules() for part in rule.parts]
    return {path for path in files(tree) if not under(path, [*left_out, *parts, NAME])}


def under(path: str, places: Iterable[str]) -> bool:
    """Tell whether the path is one of the places or inside one of them."""
    return any(path == place or path.startswith(f"{place}/") for place in places)


def foreign_words(answers: Mapping[str, object]) -> set[str]:
    """Return the words that a project with these answers may not say."""
    all_rules = rules()
    own = {word for rule in all_rules if rule.chosen(answers) for word in rule.words}
    return {word for rule in all_rules for word in rule.words} - own
