"""Check that every documented status of every operation occurs in a test.

All answers of the tested applications are noted, in every process of the run. At the end of a whole
run that passed, a status that is documented and was never got fails it (rule TST02), and so does
one that was got and is not documented (rule API11).
"""

from typing import Any, Final

import pytest
from fastapi import FastAPI

from app.config import Settings
from app.main import create_app
from tests.support.answers import Answer, AnswerRecorder, Recorded, differences

_ANSWERS: Final = pytest.StashKey[set[Answer]]()
_DIFFERENCES: Final = pytest.StashKey[list[str]]()
_OUTPUT: Final = "answers"
_SELECTIONS: Final = (
    "collectonly",
    "deselect",
    "ignore",
    "ignore_glob",
    "keyword",
    "lf",
    "markexpr",
    "stepwise",
)


@pytest.fixture(scope="session")
def recorded(request: pytest.FixtureRequest) -> Recorded:
    """Record the responses of an application, outside all middleware."""
    answers = request.config.stash[_ANSWERS]

    def record(app: FastAPI) -> FastAPI:
        app.add_middleware(AnswerRecorder, answers=answers)
        return app

    return record


def pytest_configure(config: pytest.Config) -> None:
    answers: set[Answer] = set()
    config.stash[_ANSWERS] = answers
    config.stash[_DIFFERENCES] = []


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Collect the responses recorded by a worker of pytest-xdist."""
    noted = getattr(node, "workeroutput", {}).get(_OUTPUT, ())
    node.config.stash[_ANSWERS].update((method, path, status) for method, path, status in noted)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    if hasattr(config, "workeroutput"):
        answers = config.stash[_ANSWERS]
        config.workeroutput[_OUTPUT] = sorted(answers)
    elif exitstatus == pytest.ExitCode.OK and _is_whole(config):
        found = differences(documented(), config.stash[_ANSWERS])
        config.stash[_DIFFERENCES] = found
        session.exitstatus = pytest.ExitCode.TESTS_FAILED if found else exitstatus


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    found = config.stash[_DIFFERENCES]
    if found:
        terminalreporter.section("the answers are not what is documented", red=True)
        for line in found:
            terminalreporter.line(line)


def documented() -> set[Answer]:
    """Return every status of every operation."""
    paths = create_app(Settings(environment="test")).openapi()["paths"]
    return {
        (method.upper(), path, int(status))
        for path, operations in paths.items()
        for method, operation in operations.items()
        for status in operation["responses"]
    }


def _is_whole(config: pytest.Config) -> bool:
    """Return whether all tests were selected."""
    chosen = any(getattr(config.option, name, None) for name in _SELECTIONS)
    return config.args_source is config.ArgsSource.TESTPATHS and not chosen
