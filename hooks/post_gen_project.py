"""Delete the files of other answers by the manifest, then the manifest itself.

Cookiecutter renders this file with the answers and runs it in the new project. It is offline,
deterministic and idempotent, because cruft runs it twice per update. Standard library only.
"""

import json
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

MANIFEST = ".template.toml"


def apply(project: Path, answers: Mapping[str, object]) -> None:
    """Apply the manifest of `project` to its files; without a manifest, do nothing.

    For each value of a question, `only` names paths that are deleted with other values, and
    `replace` maps paths to the variant files that replace them with this value and are deleted
    otherwise. `unless` names paths that are deleted with several answers together.
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
        for path, other in rule.get("replace", {}).items():
            # Another answer may have deleted either of them.
            if is_given and (project / path).exists() and (project / other).exists():
                (project / other).replace(project / path)
            _remove(project, project / other)
    manifest.unlink()


def _word(answer: object) -> str:
    """Return the answer as in the manifest: a boolean is `true` or `false`."""
    return json.dumps(answer) if isinstance(answer, bool) else str(answer)


def _remove_all(project: Path, paths: Iterable[str]) -> None:
    for path in paths:
        _remove(project, project / path)


def _remove(project: Path, path: Path) -> None:
    """Remove a file or folder, if it exists, and parents that become empty."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent == project or not parent.exists() or any(parent.iterdir()):
            break
        parent.rmdir()


def main(answers: Mapping[str, object]) -> int:
    """Apply the manifest to the working directory, print the next steps, return the exit code."""
    apply(Path.cwd(), answers)
    print("\n".join(next_steps(Path.cwd().name)))
    return 0


def next_steps(folder: str) -> list[str]:
    """Return commands to go on with."""
    return [
        f"cd {shlex.quote(folder)} && git init",
        "uv run app dev    # serves http://127.0.0.1:8000/docs, and writes uv.lock",
        'git add . && git commit -m "Initial commit"',
    ]


if __name__ == "__main__":
    # JSON inside a raw string: whatever was answered arrives as data and is never code.
    sys.exit(main(json.loads(r"""{{ cookiecutter | jsonify }}""")))
