"""TST02: a run without all documented statuses fails."""

from collections.abc import Callable
from textwrap import dedent
from types import SimpleNamespace

import pytest
from tests.support import operations_plugin
from tests.support.answers import differences

ITEM, EXPORT = "/items/{item_id}", "/items/export"
DOCUMENTED = {("GET", ITEM, 200), ("GET", ITEM, 404), ("GET", EXPORT, 200)}
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
"""

Run = Callable[..., pytest.RunResult]


def test_tells_missing_statuses_from_undocumented_ones() -> None:
    got = {("GET", "/items/1", 200), ("GET", "/items/2", 404), ("GET", EXPORT, 200)}
    assert differences(DOCUMENTED, got | {("PUT", "/items/1", 405), ("GET", "/", 404)}) == []
    assert differences(DOCUMENTED, got - {("GET", "/items/2", 404)}) == [
        "GET /items/{item_id}: no test gets 404"
    ]
    assert differences(DOCUMENTED, got | {("GET", EXPORT, 404)}) == [
        "GET /items/export: 404 is not documented"
    ]


class TestPlugin:
    @pytest.fixture
    def run(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
        """Run some tests with the plugin, and a document of three answers."""
        monkeypatch.setattr(operations_plugin, "documented", lambda: DOCUMENTED)
        pytester.makepyprojecttoml('[tool.pytest.ini_options]\ntestpaths = ["tests"]')

        def run_tests(*arguments: str, asked: str = ALL, plugin: object = None) -> pytest.RunResult:
            text = dedent(TESTS).replace("ASKED", asked)
            pytester.mkdir("tests").joinpath("test_some.py").write_text(text)
            own = ("-p", operations_plugin.__name__, "-p", "no:asyncio", "-p", "no:randomly")
            plugins = [] if plugin is None else [plugin]
            return pytester.runpytest_inprocess(*own, *arguments, plugins=plugins)

        return run_tests

    def test_passes_a_run_that_gets_everything(self, run: Run) -> None:
        assert run().ret == pytest.ExitCode.OK

    def test_fails_a_run_that_does_not(self, run: Run) -> None:
        result = run(asked="/items/1=200 /items/export=200")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["GET /items/{item_id}: no test gets 404"])

    def test_adds_the_answers_of_workers(self, run: Run) -> None:
        class Workers:
            """Three workers that have ended, one of them by a crash."""

            @pytest.hookimpl(tryfirst=True)
            def pytest_runtestloop(self, session: pytest.Session) -> None:
                for output in (
                    {"workeroutput": {"answers": [("GET", "/items/1", 200)]}},
                    {"workeroutput": {"answers": [("GET", "/items/2", 404)]}},
                    {},
                ):
                    node = SimpleNamespace(config=session.config, **output)
                    operations_plugin.pytest_testnodedown(node, None)

        assert run(asked="/items/export=200", plugin=Workers()).ret == pytest.ExitCode.OK

    def test_passes_a_selection(self, run: Run) -> None:
        assert run("tests", asked="/items/1=200").ret == pytest.ExitCode.OK
