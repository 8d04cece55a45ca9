"""A run that does not get what is documented fails (rule TST02)."""

from collections.abc import Callable
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import operations_plugin
from tests.support.answers import Answer, differences

DOCUMENTED: set[Answer] = {
    ("GET", "/items/{item_id}", 200),
    ("GET", "/items/{item_id}", 404),
    ("GET", "/items/export", 200),
}
ALL = "/items/1=200 /items/2=404 /items/export=200"
TESTS = """
    import pytest
    from fastapi import FastAPI, Response
    from starlette.testclient import TestClient

    app = FastAPI()

    @app.get("/items/{name}")
    def answer(name: str, status: int) -> Response:
        return Response(status_code=status)

    @pytest.fixture(scope="session")
    def client(recorded) -> TestClient:
        return TestClient(recorded(app))

    @pytest.mark.parametrize("asked", "ASKED".split())
    def test_answers(client, asked):
        path, status = asked.split("=")
        client.get(path, params={"status": status})

    def test_other():
        assert PASSES
"""

Run = Callable[..., pytest.RunResult]


class Worker:
    """Makes a run that of a worker of pytest-xdist."""

    def __init__(self) -> None:
        self.output: dict[str, object] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: Any) -> None:
        config.workeroutput = self.output


class WithWorkers:
    """Makes a run that of a process with workers, which end having noted some answers, or crash."""

    def __init__(self, *noted: list[Answer] | None) -> None:
        self.noted = noted

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        for answers in self.noted:
            output = {} if answers is None else {"workeroutput": {"answers": answers}}
            node = SimpleNamespace(config=session.config, **output)
            operations_plugin.pytest_testnodedown(node, None)


class TestDifferences:
    def test_are_none_if_all_is_got_and_nothing_else(self) -> None:
        answers = {
            ("GET", "/items/1", 200),
            ("GET", "/items/2", 404),
            ("GET", "/items/export", 200),
        }
        assert differences(DOCUMENTED, answers) == []

    def test_name_what_is_never_got(self) -> None:
        answers = {("GET", "/items/1", 200), ("GET", "/items/export", 200)}
        assert differences(DOCUMENTED, answers) == ["GET /items/{item_id}: no test gets 404"]

    def test_name_what_is_not_documented(self) -> None:
        answers = {
            ("GET", "/items/1", 200),
            ("GET", "/items/2", 404),
            ("GET", "/items/export", 200),
            ("GET", "/items/export", 404),
        }
        assert differences(DOCUMENTED, answers) == ["GET /items/export: 404 is not documented"]

    def test_pass_over_what_is_no_operation(self) -> None:
        documented = {("GET", "/items", 200)}
        answers = {("GET", "/items", 200), ("PUT", "/items", 405), ("GET", "/items/1/2", 404)}
        assert differences(documented, answers) == []


class TestPlugin:
    @pytest.fixture
    def run(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
        """Run some tests with the plugin, with a document of three answers."""
        monkeypatch.setattr(operations_plugin, "documented", lambda: DOCUMENTED)
        pytester.makepyprojecttoml('[tool.pytest.ini_options]\ntestpaths = ["tests"]')

        def run_tests(
            *arguments: str, asked: str = ALL, passes: bool = True, plugins: tuple[object, ...] = ()
        ) -> pytest.RunResult:
            text = dedent(TESTS).replace("ASKED", asked).replace("PASSES", str(passes))
            pytester.mkdir("tests").joinpath("test_some.py").write_text(text)
            own = ("-p", operations_plugin.__name__, "-p", "no:asyncio", "-p", "no:randomly")
            return pytester.runpytest_inprocess(*own, *arguments, plugins=plugins)

        return run_tests

    def test_passes_a_run_that_gets_everything(self, run: Run) -> None:
        assert run().ret == pytest.ExitCode.OK

    def test_fails_a_run_that_does_not(self, run: Run) -> None:
        result = run(asked="/items/1=200 /items/export=200")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["GET /items/{item_id}: no test gets 404"])

    def test_hands_over_what_a_worker_noted(self, run: Run) -> None:
        worker = Worker()
        run(asked="/items/2=404 /items/1=200", plugins=(worker,))
        assert worker.output == {"answers": [("GET", "/items/1", 200), ("GET", "/items/2", 404)]}

    def test_takes_over_what_its_workers_noted(self, run: Run) -> None:
        with_workers = WithWorkers([("GET", "/items/1", 200)], [("GET", "/items/2", 404)])
        assert run(asked="/items/export=200", plugins=(with_workers,)).ret == pytest.ExitCode.OK

    def test_does_without_what_a_worker_noted_that_crashed(self, run: Run) -> None:
        assert run(plugins=(WithWorkers(None),)).ret == pytest.ExitCode.OK

    @pytest.mark.parametrize(
        "selection",
        [("-k", "other"), ("tests",), ("--deselect", "tests/test_some.py::test_other")],
        ids=" ".join,
    )
    def test_says_nothing_of_a_selection(self, run: Run, selection: tuple[str, ...]) -> None:
        result = run(*selection, asked="/items/1=200")
        assert result.ret == pytest.ExitCode.OK
        result.stdout.no_fnmatch_line("*no test gets*")

    def test_leaves_a_run_that_failed_to_its_failures(self, run: Run) -> None:
        result = run(asked="/items/1=200", passes=False)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.no_fnmatch_line("*no test gets*")
