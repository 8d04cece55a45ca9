"""Keep what was chosen: delete the rest by the manifest, then the manifest itself.

Cookiecutter renders this file with the answers and runs it in the new project. It is offline,
gives the same tree for the same answers, and changes nothing when it is run again: cruft runs it
twice for every update. Standard library only.
"""

import json
import shutil
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

MANIFEST = ".template.toml"


def apply(project: Path, answers: Mapping[str, object]) -> None:
    """Apply the manifest of `project` to its files; without a manifest, do nothing.

    For every value that a question can have, `only` names paths that stay with that value alone,
    and `replace` names files whose place another takes with that value (which goes otherwise).
    """
    manifest = project / MANIFEST
    if not manifest.exists():
        return
    choices = tomllib.loads(manifest.read_text(encoding="utf-8"))["answers"]
    for question, values in choices.items():
        given = _word(answers[question])
        for value, rule in values.items():
            if value != given:
                for path in rule.get("only", ()):
                    _remove(project, project / path)
            for path, twin in rule.get("replace", {}).items():
                if value == given and (project / twin).exists():
                    (project / twin).replace(project / path)
                _remove(project, project / twin)
    manifest.unlink()


def _word(answer: object) -> str:
    """Return the answer as the manifest spells it: a boolean is `true` or `false`."""
    return json.dumps(answer) if isinstance(answer, bool) else str(answer)


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
