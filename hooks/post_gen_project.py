"""Keep what was chosen: delete the rest by the manifest, then the manifest itself.

Cookiecutter renders this file with the answers and runs it in the new project. It is offline,
gives the same tree for the same answers, and changes nothing when it is run again: cruft runs it
twice for every update. Standard library only.
"""

import json
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

MANIFEST = ".template.toml"


def apply(project: Path, answers: Mapping[str, object]) -> None:
    """Apply the manifest of `project` to its files; without a manifest, do nothing.

    For every value that a question can have, `only` names paths that stay with that value alone,
    `replace` names files whose place another takes with that value (which goes otherwise), and
    `append` names files at whose end another is added with that value (which goes in any case).
    What several answers leave out together stands under `unless`.
    """
    manifest = project / MANIFEST
    if not manifest.exists():
        return
    rules = tomllib.loads(manifest.read_text(encoding="utf-8"))
    given = {question: _word(answers[question]) for question in rules["answers"]}
    chosen = [
        (value == given[question], rule)
        for question, values in rules["answers"].items()
        for value, rule in values.items()
    ]
    for is_given, rule in chosen:
        if not is_given:
            _remove_all(project, rule.get("only", ()))
    for together in rules.get("unless", ()):
        if all(given[question] == _word(value) for question, value in together["answers"].items()):
            _remove_all(project, together["remove"])
    for is_given, rule in chosen:
        for path, twin in rule.get("replace", {}).items():
            _replace(project / path, project / twin, is_given)
            _remove(project, project / twin)
        for path, part in rule.get("append", {}).items():
            _append(project / path, project / part, is_given)
            _remove(project, project / part)
    manifest.unlink()


def _replace(path: Path, twin: Path, is_given: bool) -> None:
    """Put the twin in the place of the file, unless another answer has left one of them out."""
    if is_given and path.exists() and twin.exists():
        twin.replace(path)


def _append(path: Path, part: Path, is_given: bool) -> None:
    """Add the part at the end of the file, unless another answer has left one of them out."""
    if is_given and path.exists() and part.exists():
        text, end = path.read_bytes(), part.read_bytes()
        if not text.endswith(end):  # as after a run that was interrupted right here
            path.write_bytes(text + end)


def _word(answer: object) -> str:
    """Return the answer as the manifest spells it: a boolean is `true` or `false`."""
    return json.dumps(answer) if isinstance(answer, bool) else str(answer)


def _remove_all(project: Path, paths: Iterable[str]) -> None:
    for path in paths:
        _remove(project, project / path)


def _remove(project: Path, path: Path) -> None:
    """Remove a file or a folder, if it is there, and the folders that it leaves empty."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent == project or not parent.exists() or any(parent.iterdir()):
            break
        parent.rmdir()


def main(answers: Mapping[str, object]) -> int:
    """Apply the manifest to the working directory and return the exit code."""
    apply(Path.cwd(), answers)
    return 0


if __name__ == "__main__":
    # JSON inside a raw string: whatever was answered arrives as data and is never code.
    sys.exit(main(json.loads(r"""{{ cookiecutter | jsonify }}""")))
