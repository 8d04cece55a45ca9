"""Violation tests: show that every check can fail.

`rules` breaks each rule of a generated project's `docs/rules.md` and runs the lints, types,
contracts and tests that the rule names there. `registrations` removes each registration of the
modules and runs the tests that must miss it. A violation is a file in `tests/violations`, which
is added to the project, or an edit in one of the TOML files there.

    python tools/violations.py rules sqlite build/
    python tools/violations.py rules sqlite build/ --only DB04 SEC09 --keep --no-baseline
    python tools/violations.py registrations postgresql-redis-arq-websockets-s3 build/
"""

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

# A script finds its own folder alone.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools import variant

FOLDER = variant.ROOT / "tests/violations"
RULE = re.compile(r"^\*\*([A-Z]+\d\d)\*\* (?:.+\n)+?<br><sub>((?:.+\n)*?.+)</sub>$", re.MULTILINE)
CHECK = re.compile(r"(lint|contract|test) `([^`]+)`|\b(types)\b")
SECTION = re.compile(r"^# file: (\S+)\n", re.MULTILINE)
ONLY = re.compile(r"^# only: (\w+) = (\S+)\n", re.MULTILINE)
CAUGHT = re.compile(r"  # caught(?:: (\S+))?$", re.MULTILINE)
ORDER = ("lint", "contract", "test", "types")
PYTEST = ("-n0", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly")
SECONDS = 600


@dataclass(frozen=True, slots=True)
class Check:
    """A lint, a contract, a test or the type checker, by its name."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a file: `find` becomes `put`.

    Without `find`, `put` is added at the end; without `put`, the line that has `find` is removed.
    """

    file: str
    find: str
    put: str | None = None

    def apply(self, text: str) -> str:
        """Return the changed text.

        Raises:
            ValueError: `find` does not occur exactly once.
        """
        if self.find and (times := text.count(self.find)) != 1:
            raise ValueError(f"{self.file} has {self.find!r} {times} times")
        if self.put is None:
            lines = text.splitlines(keepends=True)
            return "".join(line for line in lines if self.find not in line)
        return text.replace(self.find, self.put) if self.find else text + self.put


@dataclass(frozen=True, slots=True)
class Violation:
    """A violation of a rule, or a missing registration of a module.

    Attributes:
        subject: The rule or the module.
        what: A description of the fault.
        edits: The changes that make it.
        tests: The tests that must fail, where `docs/rules.md` does not name them.
        only: The answers that it requires.
    """

    subject: str
    what: str
    edits: tuple[Edit, ...]
    tests: str = ""
    only: tuple[tuple[str, object], ...] = ()

    def fits(self, answers: Mapping[str, object]) -> bool:
        """Return whether the variant with these answers can have it."""
        return all(answers[question] == value for question, value in self.only)

    def apply(self, project: Path) -> None:
        """Make the changes in a project."""
        for edit in self.edits:
            path = project / edit.file
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(edit.apply(text), encoding="utf-8")

    def marks(self, project: Path) -> set[str]:
        """Return the texts that checks must print, by default the locations of marked lines."""
        return {
            match[1] or f"{path}:{text.count(chr(10), 0, match.start()) + 1}:"
            for path in {edit.file for edit in self.edits}
            for text in [(project / path).read_text(encoding="utf-8")]
            for match in CAUGHT.finditer(text)
        }


def of_rules() -> list[Violation]:
    """Return the violations of rules: the files, and the edits of `rules.toml`."""
    found = []
    for path in sorted(FOLDER.glob("*.py")):
        head, *sections = SECTION.split(path.read_text(encoding="utf-8"))
        edits = tuple(
            Edit(file, "", f"\n\n{text.strip()}\n" if text.strip() else "")
            for file, text in zip(sections[::2], sections[1::2], strict=True)
        )
        only = tuple((key, {"true": True}.get(value, value)) for key, value in ONLY.findall(head))
        rule, _, what = path.stem.partition("_")
        found.append(Violation(rule, what.replace("_", " "), edits, only=only))
    return [*found, *_in_toml("rules.toml")]


def of_registrations() -> list[Violation]:
    """Return the registrations of the modules, as violations that remove them."""
    return _in_toml("registrations.toml")


def _in_toml(name: str) -> list[Violation]:
    """Read edits: a text and its replacement, or a text alone, whose line is removed."""
    content = tomllib.loads((FOLDER / name).read_text(encoding="utf-8"))
    return [
        Violation(
            subject,
            what,
            tuple(Edit(file, *edit) for file, edit in entry.items() if file not in _OPTIONS),
            entry.get("tests", ""),
            tuple(entry.get("only", {}).items()),
        )
        for subject, entries in content.items()
        for what, entry in entries.items()
    ]


_OPTIONS = {"tests", "only"}


def held_by(rules: str) -> dict[str, list[Check]]:
    """Read a project's `docs/rules.md`: the checks of each rule."""
    return {
        match[1]: [
            Check(found[1] or found[3], found[2] or "") for found in CHECK.finditer(match[2])
        ]
        for match in RULE.finditer(rules)
    }


@dataclass(frozen=True, slots=True)
class Project:
    """A synced project, the interpreter of its environment, and the variables for its checks."""

    path: Path
    python: Path
    environment: Mapping[str, str]

    def run(self, kind: str, names: Sequence[str]) -> tuple[bool, str]:
        """Run checks of one kind; return whether one failed as expected, and the output."""
        programs = self.python.parent
        command: list[Path | str]
        match kind:
            case "lint":
                command = [programs / "ruff", "check", "--no-cache", "--output-format=concise"]
                failed = rf" ({'|'.join(names)}) "
            case "types":
                command, failed = [programs / "mypy"], "error: "
            case "contract":
                options = [option for name in names for option in ("--contract", name)]
                command, failed = [programs / "lint-imports", "--no-cache", *options], "BROKEN"
            case _:
                # The plugin takes longer to load than most tests take to run.
                unused = [] if names[0].startswith("fuzz/") else ["-p", "no:schemathesis"]
                command = [self.python, "-m", "pytest", *PYTEST, *unused, *names]
                failed = r"\d+ (failed|error)|while loading conftest"
        done = subprocess.run(
            command,
            cwd=self.path,
            env={**self.environment, "PYTHONPATH": f"{self.path / 'src'}{os.pathsep}{self.path}"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
        output = done.stdout + done.stderr
        return done.returncode != 0 and bool(re.search(failed, output)), output

    def catches(self, violation: Violation, checks: Sequence[Check]) -> tuple[bool, str]:
        """Apply a violation, run its checks until one catches it, and revert it."""
        paths = {self.path / edit.file for edit in violation.edits}
        before = {path: path.read_bytes() if path.exists() else None for path in paths}
        outputs = ""
        try:
            violation.apply(self.path)
            missing, found = violation.marks(self.path), False
            for kind in ORDER:
                if names := [check.name for check in checks if check.kind == kind]:
                    failed, output = self.run(kind, names)
                    found, outputs = found or failed, outputs + output
                    missing -= {mark for mark in missing if failed and mark in output}
                    if found and not missing:
                        return True, outputs
            return False, f"{outputs}\nnot shown: {sorted(missing)}"
        finally:
            for path, content in before.items():
                path.write_bytes(content) if content is not None else path.unlink(missing_ok=True)

    def failures(self, checks: Sequence[Check]) -> list[str]:
        """Run all checks on the project as it is; return the output of those that fail."""
        batches: dict[tuple[str, bool], list[str]] = {}
        for check in dict.fromkeys(checks):
            batches.setdefault((check.kind, check.name.startswith("fuzz/")), []).append(check.name)
        results = [self.run(kind, names) for (kind, _), names in batches.items()]
        return [output for failed, output in results if failed]


def try_all(project: Project, violations: Sequence[Violation], jobs: int, first: bool) -> int:
    """Try violations in copies of a project, print the outcomes, and return the number missed.

    Args:
        project: A project that has been synced.
        violations: The violations to try.
        jobs: Number of concurrent checks.
        first: Whether to run all checks without a violation first.
    """
    held = held_by((project.path / "docs/rules.md").read_text(encoding="utf-8"))
    checks = [
        [Check("test", each.tests)] if each.tests else held[each.subject] for each in violations
    ]
    with tempfile.TemporaryDirectory(prefix="violations-") as place:
        copies: queue.Queue[Project] = queue.Queue()
        for number in range(jobs):
            copy = Path(place) / str(number) / project.path.name
            ignored = shutil.ignore_patterns(".venv", ".git", ".mypy_cache")
            shutil.copytree(project.path, copy, symlinks=True, ignore=ignored)
            copies.put(Project(copy, project.python, project.environment))
        if first and (failures := copies.queue[0].failures([c for each in checks for c in each])):
            sys.exit("\n\n".join(("Failing without any violation:", *failures)))

        def one(violation: Violation, named: Sequence[Check]) -> bool:
            copy = copies.get()
            try:
                caught, output = copy.catches(violation, named)
            finally:
                copies.put(copy)
            word = "caught    " if caught else "NOT CAUGHT"
            print(f"{word}  {violation.subject}  {violation.what}", flush=True)
            if not caught:
                print(output[-3000:], flush=True)
            return caught

        with ThreadPoolExecutor(jobs) as threads:
            outcomes = list(threads.map(one, violations, checks))
    print(f"{len(outcomes)} violations, {outcomes.count(False)} not caught")
    return outcomes.count(False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["rules", "registrations"], help="the kind of violations")
    parser.add_argument("name", help="the variant, such as sqlite")
    parser.add_argument("folder", type=Path, help="the folder of its project")
    parser.add_argument("--only", nargs="+", metavar="ID", help="some rules or modules")
    parser.add_argument("--keep", action="store_true", help="use the project in the folder")
    parser.add_argument("--jobs", type=int, default=2, help="concurrent checks (default: 2)")
    parser.add_argument(
        "--no-baseline", action="store_true", help="skip the first run, without violations"
    )
    given = parser.parse_args(arguments)

    environment = variant.environment(given.name, str(Path(sys.executable).resolve()))
    environment.pop("PYTEST_ADDOPTS", None)
    # A file that changes twice in a second must not be read from its compiled form.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    path = given.folder.resolve() / variant.SLUG
    if not (given.keep and path.exists()):
        variant.generate(given.name, given.folder)
    sync = ["uv", "sync", "--quiet", "--all-groups", "--compile-bytecode"]
    subprocess.run(sync, cwd=path, env=environment, check=True)
    answers = variant.answers(given.name)
    chosen = [
        violation
        for violation in (of_rules() if given.kind == "rules" else of_registrations())
        if violation.fits(answers) and (not given.only or violation.subject in given.only)
    ]
    project = Project(path, path / ".venv/bin/python", environment)
    return 1 if try_all(project, chosen, given.jobs, not given.no_baseline) else 0


if __name__ == "__main__":
    sys.exit(main())
