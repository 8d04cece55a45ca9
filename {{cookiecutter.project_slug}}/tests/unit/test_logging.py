"""The log: one format, one line per event, without secrets (rules ERR04, SEC10, SEC15)."""

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from app.core import logging as app_logging
from app.core.config import LoggingSettings
from app.core.logging import ACCESS_LOG, LoggedError, configure_logging
from app.core.redaction import REDACTED
from tests.support.logs import logging_restored

SERVERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "gunicorn.error", "gunicorn.access")
QUIET = (
    "alembic.runtime.plugins",
    "uvicorn.access",
    "gunicorn.access",
    "sqlalchemy.engine",
    "app.infrastructure.database.pool.FairPool",
    "watchfiles.main",
)
LIBRARY = logging.getLogger("library")

Output = Callable[[], str]
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _log_restored() -> Iterator[None]:
    with logging_restored(*SERVERS, "sqlalchemy"):
        as_json()
        yield


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Output:
    """Return the text of the log since the last call."""
    return lambda: capsys.readouterr().out


@pytest.fixture
def lines(output: Output) -> Lines:
    """Return the lines of a JSON log since the last call."""
    return lambda: [json.loads(line) for line in output().splitlines()]


def as_json(level: str = "INFO") -> None:
    configure_logging(LoggingSettings.model_validate({"level": level}), production=True)


def as_text() -> None:
    configure_logging(LoggingSettings(), production=False)


def fail(message: str) -> None:
    local = "hidden-local"
    raise ValueError(message, len(local))


def recurse() -> None:
    recurse()


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


class TestFormat:
    def test_is_json_in_production(self, lines: Lines) -> None:
        structlog.get_logger("app.x").info("made %s", "it", count=1)
        configure_logging(LoggingSettings(format="json"), production=False)
        structlog.get_logger().info("made")
        first, second = lines()
        assert first.pop("timestamp").endswith("Z")
        assert first == {"event": "made it", "count": 1, "level": "info", "logger": "app.x"}
        assert second["logger"] == "app"

    def test_is_text_in_development_with_colours_on_a_terminal(
        self, output: Output, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        as_text()
        structlog.get_logger("app.x").info("made", count=1)
        assert output().split()[1:] == ["[info", "]", "made", "[app.x]", "count=1"]
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        as_text()
        structlog.get_logger().info("made")
        assert "\x1b[" in output()

    def test_goes_to_stderr_when_the_output_is_a_result(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure_logging(LoggingSettings(), production=True, stream="stderr")
        structlog.get_logger().info("made")
        LIBRARY.info("made")
        assert len(capsys.readouterr().err.splitlines()) == 2

    def test_has_the_fields_that_are_bound_to_the_request(self, lines: Lines) -> None:
        with structlog.contextvars.bound_contextvars(request_id="r1"):
            structlog.get_logger().info("ours")
            LIBRARY.info("theirs")
        assert [line["request_id"] for line in lines()] == ["r1", "r1"]

    def test_changes_for_loggers_in_use(self, output: Output, lines: Lines) -> None:
        as_text()
        logger = structlog.get_logger("app.x")
        logger.info("made")
        assert "[app.x]" in output()
        as_json()
        logger.info("made")
        assert lines()[0]["event"] == "made"

    def test_survives_a_closed_stream(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(_: str) -> int:
            raise BrokenPipeError

        monkeypatch.setattr(sys.stdout, "write", broken)
        structlog.get_logger().info("made")


class TestAccessLine:
    USUAL: ClassVar[dict[str, Any]] = {
        "method": "DELETE",
        "route": "/api/v1/things/{thing_id}",
        "status": 200,
        "duration_ms": 8.406,
        "client": "2001:db8::1",
        "statements": 3,
        "database_ms": 1.17,
        "events": ["thing.deleted"],
        "request_id": "01a22fe7-1c54-76b7-916c-20fa3d669c1d",
        "session_id": "01a22fe7-1c40-737e-ae42-8365e115ad3f",
        "user_id": "01a22fe7-1c40-737e-ae42-8362aac83771",
    }

    def line(self, output: Output, **fields: object) -> list[str]:
        as_text()
        structlog.get_logger(ACCESS_LOG).info("request", **{**self.USUAL, **fields})
        out = output()
        assert out.count("\n") == 1
        assert len(out) < 150
        # The time and the level come first.
        return out.split()[3:]

    def test_is_short_in_development(self, output: Output) -> None:
        usual = ["DELETE", "/api/v1/things/{thing_id}", "200", "8.4", "ms"]
        assert self.line(output) == usual

    def test_has_the_path_of_a_404(self, output: Output) -> None:
        missing = self.line(output, route=None, path="/nowhere", status=404, code="not_found")
        assert missing == ["DELETE", "/nowhere", "404", "8.4", "ms", "code=not_found"]
        _, path, *_ = self.line(output, route=None, path="/" + "a" * 200, status=404)
        assert len(path) == 71

    def test_has_further_fields_if_unusual(self, output: Output) -> None:
        request_id = f"request_id={self.USUAL['request_id']}"
        assert request_id in self.line(output, status=500)
        assert self.line(output, status=None)[2:] == ["-", "8.4", "ms", request_id]
        assert self.line(output, statements=40)[5:] == ["database_ms=1.17", "statements=40"]


class TestLibraries:
    def test_have_the_same_format(self, lines: Lines) -> None:
        for name in (*SERVERS, "sqlalchemy.engine", "alembic", "library"):
            logger = logging.getLogger(name)
            logger.addHandler(logging.StreamHandler())
            as_json()
            as_json()
            logger.warning("went %s", "wrong", extra={"tries": 2, "color_message": "\x1b[1m"})
            logger.handlers = []
            (line,) = lines()
            assert (line["event"], line["logger"], line["level"]) == ("went wrong", name, "warning")
            assert line["tries"] == 2
            assert "color_message" not in line

    def test_stay_above_debug(self, lines: Lines) -> None:
        as_json(level="DEBUG")
        LIBRARY.debug("with values")
        careless = logging.getLogger("careless")
        careless.setLevel(logging.DEBUG)
        careless.debug("with values")
        structlog.get_logger().debug("ours")
        assert [line["event"] for line in lines()] == ["ours"]

    def test_that_repeat_our_lines_are_quiet(self, output: Output) -> None:
        for name in QUIET:
            logging.getLogger(name).info("GET /")
        assert output() == ""

    def test_obey_a_higher_level(self, output: Output) -> None:
        as_json(level="ERROR")
        structlog.get_logger().warning("ours")
        LIBRARY.warning("theirs")
        assert output() == ""

    def test_have_their_warnings_logged(self, lines: Lines) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            as_json()
            warnings.warn("old", UserWarning, stacklevel=1)
        assert lines()[0]["logger"] == "py.warnings"

    def test_do_not_repeat_an_error_that_is_logged(self, lines: Lines) -> None:
        server = logging.getLogger("uvicorn.error")
        server.error("Exception in ASGI application", exc_info=LoggedError("RuntimeError"))
        server.error("another", exc_info=RuntimeError())
        assert [line["event"] for line in lines()] == ["another"]

    def test_survive_a_broken_record(self, capsys: pytest.CaptureFixture[str]) -> None:
        as_json()
        record = logging.makeLogRecord({"name": "library", "msg": "%d", "args": ("hidden",)})
        record.levelno = logging.WARNING + 5
        logging.getLogger().handlers[-1].handle(record)
        out, err = capsys.readouterr()
        line = json.loads(out)
        assert line["event"].startswith("unreadable log record")
        assert line["level"] == "warning"
        assert "hidden" not in out + err


class TestExceptions:
    def test_are_structured_and_without_local_variables(self, output: Output) -> None:
        try:
            fail("password=hidden-1")
        except ValueError:
            structlog.get_logger().exception("failed")
            LIBRARY.exception("failed")
        out = output()
        assert "hidden" not in out
        for line in map(json.loads, out.splitlines()):
            (stack,) = line["exception"]
            assert stack["exc_type"] == "ValueError"
            assert REDACTED in stack["exc_value"]
            assert stack["frames"][-1]["name"] == "fail"

    def test_drop_the_middle_of_a_recursion(
        self, lines: Lines, output: Output, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(app_logging, "_PACKAGE", __file__)
        with pytest.raises(RecursionError) as raised:
            recurse()
        structlog.get_logger().error("failed", exc_info=raised.value)
        (error,) = lines()[0]["exception"]
        assert len(error["frames"]) == 50
        as_text()
        structlog.get_logger().error("failed", exc_info=raised.value)
        out = output()
        assert len(out) < 10_000
        assert "RecursionError" in out.splitlines()[-1]

    def test_are_readable_in_development(self, output: Output) -> None:
        as_text()
        try:
            fail("one\ntwo\x1b[31m token=secret-1")
        except ValueError as error:
            group = ExceptionGroup("several", [error])
            structlog.get_logger().error("failed", exc_info=group)
        out = output()
        assert "in fail" in out
        assert "raise ValueError(message" in out
        assert "secret-1" not in out
        assert "\x1b" not in out
        assert all(line.startswith("  ") for line in out.splitlines()[1:])


class TestInjection:
    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_text_stays_on_its_line(self, text: str) -> None:
        written: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            for configure in (as_json, as_text):
                configure()
                patch.setattr(sys.stdout, "write", written.append)
                structlog.get_logger().info("%s", text, value=text)
                LIBRARY.info("%s", text, extra={"value": text})
                patch.undo()
        assert len(written) == 4
        for line in written:
            assert line.endswith("\n")
            assert len(line.splitlines()) == 1
            assert line[:-1].isprintable()

    def test_any_value_is_written(self, output: Output, lines: Lines) -> None:
        structlog.get_logger().info("made", value=Unprintable())
        assert lines()[0]["value"] == "<Unprintable>"
        for configure in (as_json, as_text):
            configure()
            structlog.get_logger().info("\ud800")
            assert "\\ud800" in output()
