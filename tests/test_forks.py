"""A fork can change its author, the order of licences, a default, and add a module."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.variant import ROOT, copy_template

TREE = "{{cookiecutter.project_slug}}"
TESTED = [
    "tests/test_hooks.py",
    "tests/test_odd_answers.py::test_the_wheel_has_its_metadata_and_no_development_code",
    "tests/test_tree.py",
    "tests/test_variants.py::test_has_the_chosen_licence",
]
OF_MODULES = [
    "tests/test_repository.py::test_every_question_is_in_the_readme",
    "tests/test_rules.py::test_every_directive_of_a_module_is_a_registration",
    "tests/test_rules.py::test_every_module_has_registrations",
    "tests/test_rules.py::test_violations_fit_the_tree[sqlite-redis-arq-websockets-s3-sentry]",
    "tests/test_tools.py::test_tox_has_an_environment_for_every_variant",
    *(
        f"tests/test_variants.py::test_{test}[sqlite{variant}]"
        for test in ("has_exactly_the_files_of_the_manifest", "has_no_lint_as_written")
        for variant in ("", "-sentry")
    ),
    "tests/test_variants.py::test_has_no_word_of_other_answers[sqlite]",
    "tests/toolkit/test_init.py::test_every_question_has_an_option",
]

NEW_FILES = {
    "src/app/core/config/sentry.py": '''\
"""Settings of error reports."""

from pydantic import SecretStr

from app.core.config.base import SettingsGroup


class SentrySettings(SettingsGroup):
    """Error reports."""

    dsn: SecretStr = SecretStr("")
    """Address of the project that collects reports."""
''',
    "src/app/infrastructure/sentry.py": '''\
"""Error reports by Sentry."""

import sentry_sdk

from app.core.config.sentry import SentrySettings


class SentryReports:
    """Sends errors to Sentry."""

    def __init__(self, settings: SentrySettings) -> None:
        self._client = sentry_sdk.Client(settings.dsn.get_secret_value())

    def report(self, error: BaseException) -> None:
        """Send an error."""
        scope = sentry_sdk.Scope(client=self._client)
        scope.capture_exception(error)
''',
    "src/app/infrastructure/error_reports.py": '''\
"""Error reports without a service that collects them."""


class LoggedReports:
    """Leaves errors to the log."""

    def report(self, error: BaseException) -> None:
        """Do nothing: the error has been logged."""
''',
    "src/dev_servers/sentry.py": '''\
"""A collector of error reports that discards them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dev_servers.server import Server

NAME: Final = "Sentry"
VARIABLE: Final = "APP_SENTRY__DSN"


@contextmanager
def opened(directory: Path | None) -> Iterator[Server]:
    """Yield an address of the reserved port for discarding."""
    del directory
    yield Server("http://key@127.0.0.1:9/1", "discarded reports")
''',
    "tests/support/sentry_plugin.py": '''\
"""Settings of error reports for tests."""

from typing import Any


def pytest_app_settings() -> dict[str, dict[str, Any]]:
    """Discard reports."""
    return {"sentry": {"dsn": "http://key@127.0.0.1:9/1"}}
''',
    "tests/support/reporters.py": '''\
"""The adapters that the contract of error reports is tested with."""

from app.core.config.sentry import SentrySettings
from app.infrastructure.error_reports import LoggedReports
from app.infrastructure.sentry import SentryReports

REPORTERS = (LoggedReports(), SentryReports(SentrySettings()))
''',
    "tests/support/reporters_logged.py": '''\
"""The adapters that the contract of error reports is tested with."""

from app.infrastructure.error_reports import LoggedReports

REPORTERS = (LoggedReports(),)
''',
    "tests/contract/test_error_reports.py": """\
import pytest

from app.core.ports import ErrorReports
from tests.support.reporters import REPORTERS


@pytest.mark.parametrize("reports", REPORTERS)
def test_reports_an_error(reports: ErrorReports) -> None:
    reports.report(ValueError())
""",
    "docs/adr/0100-sentry.md": "# 0100 Error reports by Sentry\n",
}


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    """A copy of the template with its tests."""
    copy = copy_template(tmp_path / "fork")
    for name in ("src", "tests", "tools", "pyproject.toml", "tox.ini", "README.md"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
    return copy


def _answers(fork: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((fork / "cookiecutter.json").read_text(encoding="utf-8"))
    return content


def _write_answers(fork: Path, content: dict[str, Any]) -> None:
    (fork / "cookiecutter.json").write_text(json.dumps(content, indent=2), encoding="utf-8")


def _check(fork: Path, *more: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
            *("-k", "not type_error", *TESTED, *more),
        ],
        cwd=fork,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_changes_its_author_licences_and_defaults(fork: Path) -> None:
    content = _answers(fork)
    content["author_name"] = "A Company"
    content["author_email"] = "team@company.example"
    content["license"] = ["Proprietary", "MIT", "BSD-3-Clause", "Apache-2.0"]
    content["database"] = ["sqlite", "postgresql"]
    content["ci"] = ["none", "github", "gitlab"]
    _write_answers(fork, content)
    _check(fork)


def test_adds_a_module_by_the_steps_of_the_guide(fork: Path) -> None:
    """The numbers are those of the steps in docs/modules.md."""
    guide = (ROOT / "docs/modules.md").read_text(encoding="utf-8")
    steps = guide.partition("## A module")[2].partition("\n## ")[0]
    assert re.findall(r"^(\d+)\. ", steps, re.MULTILINE) == [str(n) for n in range(1, 11)]
    tree = fork / TREE

    # 1: the question and its prompt
    content = _answers(fork)
    questions = list(content)
    place = questions.index("use_s3") + 1
    content = {**{key: content[key] for key in questions[:place]}, "use_sentry": False} | content
    content["__prompts__"]["use_sentry"] = "Sentry: error reports"
    _write_answers(fork, content)
    package = fork / "src/fastapi_senior/init"
    _insert(package / "generation.py", '    "python_version": "', '    "use_sentry": "--sentry",\n')
    _insert(package / "command.py", '        "python_version": ', '        "use_sentry": sentry,\n')
    _insert(
        package / "command.py",
        "    python: Annotated[",
        '    sentry: Annotated[bool | None, typer.Option("--sentry/--no-sentry")] = None,\n',
    )
    # 2: its packages; it goes with all others
    _insert(fork / "hooks/pre_gen_project.py", "s3transfer ", "sentry-sdk ")
    # 3, 4 and 7: the files, with a port and its harmless adapter, and the development server
    for path, text in NEW_FILES.items():
        (tree / path).write_text(text, encoding="utf-8")
    _append(
        tree / "src/app/core/ports.py",
        '\n\nclass ErrorReports(Protocol):\n    """Reports unexpected errors."""\n\n'
        '    def report(self, error: BaseException) -> None:\n        """Report an error."""\n',
    )
    # 5: registrations
    _insert(
        tree / "src/app/config.py",
        "# {%- if cookiecutter.use_s3 or",
        "# {%- if cookiecutter.use_sentry +%}\n"
        "from app.core.config.sentry import SentrySettings\n\n"
        "# {%- endif +%}\n",
    )
    _insert(
        tree / "src/app/config.py",
        "    # {% if cookiecutter.use_s3 or",
        _if("sentry: SentrySettings = SentrySettings()"),
    )
    resources = tree / "src/app/resources/__init__.py"
    _insert(
        resources,
        "from app.infrastructure.events import",
        "from app.infrastructure.error_reports import LoggedReports\n",
    )
    _insert(
        resources,
        "# {%- if cookiecutter.use_s3 or",
        "# {%- if cookiecutter.use_sentry +%}\n"
        "from app.infrastructure.sentry import SentryReports\n\n"
        "# {%- endif +%}\n",
    )
    _insert(
        resources,
        "        self.health_checks = tuple(",
        "        self.error_reports: ErrorReports = LoggedReports()\n"
        + _if("self.error_reports = SentryReports(settings.sentry)", indent=8),
    )
    _replace(resources, "import Cache, Events", "import Cache, ErrorReports, Events")
    _insert(tree / "pyproject.toml", '    "alembic', _if('"sentry-sdk>=2,<3",'))
    _insert(tree / "compose.yaml", "  read_only: true", _if('APP_SENTRY__DSN: ""'))
    for text, heading in ((".env.example", "###"), ("README.md", "##"), ("AGENTS.md", "##")):
        _append(tree / text, _if(f"\n{heading} Error reports by Sentry", indent=0))
    _append(tree / "docs/adr/README.md", _if("| [0100](0100-sentry.md) | Sentry |", indent=0))
    # 6: the manifest
    others = {path for path in NEW_FILES if "error_reports" in path or "reporters" in path}
    own = sorted(NEW_FILES.keys() - others)
    _insert(
        tree / ".template.toml",
        "[answers.ci.github]",
        f"[answers.use_sentry.true]\nonly = {json.dumps(own)}\n"
        'words = ["sentry"]\n\n[answers.use_sentry.false.replace]\n'
        '"tests/support/reporters.py" = "tests/support/reporters_logged.py"\n\n',
    )
    # 8: the environments
    _replace(fork / "tox.ini", "{,-s3}", "{,-s3}{,-sentry}")
    _replace(fork / "tox.ini", "websockets-s3{", "websockets-s3-sentry{")
    # 9: the violations
    _append(
        fork / "tests/violations/registrations.toml",
        '\n[sentry."its settings"]\ntests = "tests/unit/test_config.py"\n'
        '"src/app/config.py" = ["sentry: SentrySettings"]\n'
        '\n[sentry."its adapter"]\ntests = "tests/contract/test_error_reports.py"\n'
        '"src/app/resources/__init__.py" = ["= SentryReports(settings.sentry)"]\n',
    )
    # 10: the README of the template
    _insert(
        fork / "README.md", "| `python_version` |", "| `use_sentry` | no, yes | error reports |\n"
    )
    _check(fork, *OF_MODULES)


def _if(line: str, indent: int = 4) -> str:
    """Return lines of a project that has the module."""
    space = " " * indent
    return f"{space}# {{% if cookiecutter.use_sentry %}}\n{space}{line}\n{space}# {{% endif %}}\n"


def _insert(path: Path, before: str, text: str) -> None:
    content = path.read_text(encoding="utf-8")
    assert before in content
    path.write_text(content.replace(before, text + before, 1), encoding="utf-8")


def _append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def _replace(path: Path, old: str, new: str) -> None:
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new), encoding="utf-8")
