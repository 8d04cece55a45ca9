"""The log: one road, one line per event, no secret on it (rules ERR04, SEC10, SEC15)."""

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from app.core.config import LoggingSettings
from app.core.logging import REDACTED, LoggedError, configure_logging

SERVERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "gunicorn.error", "gunicorn.access")
TIMESTAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


@pytest.fixture(autouse=True)
def _log_put_back() -> Iterator[None]:
    config = structlog.get_config()
    loggers = [logging.getLogger(name) for name in ("root", "sqlalchemy", *SERVERS)]
    before = [(each, each.handlers[:], each.level, each.propagate) for each in loggers]
    yield
    logging.captureWarnings(False)
    structlog.contextvars.clear_contextvars()
    structlog.configure(**config)
    for each, handlers, level, propagate in before:
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


def json_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def as_json(level: str = "INFO") -> None:
    configure_logging(LoggingSettings.model_validate({"level": level}), production=True)


def as_text() -> None:
    configure_logging(LoggingSettings(), production=False)


def fail(message: str) -> None:
    local = "hidden-local"
    raise ValueError(message, len(local))


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


class TestFormat:
    def test_is_json_in_production(self, capsys: pytest.CaptureFixture[str]) -> None:
        as_json()
        structlog.get_logger("app.x").info("made %s", "it", count=1)
        (line,) = json_lines(capsys)
        timestamp = line.pop("timestamp")
        assert line == {"event": "made it", "count": 1, "level": "info", "logger": "app.x"}
        assert timestamp.endswith("Z")

    def test_is_text_in_development(self, capsys: pytest.CaptureFixture[str]) -> None:
        as_text()
        structlog.get_logger("app.x").info("made", count=1)
        assert capsys.readouterr().out.split()[1:] == ["[info", "]", "made", "[app.x]", "count=1"]

    def test_can_be_chosen(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging(LoggingSettings(format="json"), production=False)
        structlog.get_logger().info("made")
        assert json_lines(capsys)[0]["logger"] == "app"

    def test_has_colours_on_a_terminal_only(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        as_text()
        structlog.get_logger().info("made")
        assert "\x1b[" in capsys.readouterr().out

    def test_goes_to_the_other_stream_when_the_output_is_a_result(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure_logging(LoggingSettings(), production=True, stream="stderr")
        structlog.get_logger().info("made")
        logging.getLogger("library").info("made")
        assert len(capsys.readouterr().err.splitlines()) == 2

    def test_carries_what_is_bound_to_the_request(self, capsys: pytest.CaptureFixture[str]) -> None:
        as_json()
        with structlog.contextvars.bound_contextvars(request_id="r1"):
            structlog.get_logger().info("ours")
            logging.getLogger("library").info("theirs")
        assert [line["request_id"] for line in json_lines(capsys)] == ["r1", "r1"]

    def test_survives_that_nobody_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        as_json()

        def broken(_: str) -> int:
            raise BrokenPipeError

        monkeypatch.setattr(sys.stdout, "write", broken)
        structlog.get_logger().info("made")


class TestLibraries:
    @pytest.mark.parametrize("name", [*SERVERS, "sqlalchemy.engine", "alembic", "library"])
    def test_take_the_same_road(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        logging.getLogger(name).addHandler(logging.StreamHandler())
        as_json()
        logging.getLogger(name).warning("went %s", "wrong", extra={"tries": 2})
        logging.getLogger(name).handlers = []
        (line,) = json_lines(capsys)
        assert (line["event"], line["logger"], line["level"]) == ("went wrong", name, "warning")
        assert line["tries"] == 2

    def test_write_each_line_once_however_often_it_is_configured(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        as_json()
        as_json()
        logging.getLogger("library").info("made")
        assert len(json_lines(capsys)) == 1

    def test_stay_above_debug_where_we_do_not(self, capsys: pytest.CaptureFixture[str]) -> None:
        as_json(level="DEBUG")
        logging.getLogger("library").debug("with values")
        careless = logging.getLogger("careless")
        careless.setLevel(logging.DEBUG)
        careless.debug("with values")
        structlog.get_logger().debug("ours")
        assert [line["event"] for line in json_lines(capsys)] == ["ours"]

    @pytest.mark.parametrize(
        "name",
        [
            "uvicorn.access",
            "gunicorn.access",
            "sqlalchemy.engine",
            "app.infrastructure.database.pool.FairPool",
            "watchfiles.main",
        ],
    )
    def test_that_say_what_is_said_already_are_quiet(
        self, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        as_json()
        logging.getLogger(name).info("GET /")
        assert capsys.readouterr().out == ""

    def test_obey_a_higher_level(self, capsys: pytest.CaptureFixture[str]) -> None:
        as_json(level="ERROR")
        structlog.get_logger().warning("ours")
        logging.getLogger("library").warning("theirs")
        assert capsys.readouterr().out == ""

    def test_lose_the_copy_of_the_message_that_is_meant_for_terminals(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        as_json()
        logging.getLogger("uvicorn.error").info("up", extra={"color_message": "\x1b[1mup"})
        assert "color_message" not in json_lines(capsys)[0]

    def test_warn_by_the_same_road(self, capsys: pytest.CaptureFixture[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            as_json()
            warnings.warn("old", UserWarning, stacklevel=1)
        assert json_lines(capsys)[0]["logger"] == "py.warnings"

    def test_say_nothing_of_an_error_that_the_log_has(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        as_json()
        server = logging.getLogger("uvicorn.error")
        server.error("Exception in ASGI application", exc_info=LoggedError("RuntimeError"))
        server.error("another", exc_info=RuntimeError())
        assert [line["event"] for line in json_lines(capsys)] == ["another"]

    def test_can_not_hurt_with_a_broken_record(self, capsys: pytest.CaptureFixture[str]) -> None:
        as_json()
        record = logging.makeLogRecord({"name": "library", "msg": "%d", "args": ("hidden",)})
        logging.getLogger().handlers[-1].handle(record)
        (line,) = json_lines(capsys)
        assert line["event"].startswith("unreadable log record")
        assert "hidden" not in str(line) + capsys.readouterr().err


class TestExceptions:
    def test_are_structured_and_without_local_variables(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        as_json()
        try:
            fail("password=hidden-1")
        except ValueError:
            structlog.get_logger().exception("failed")
            logging.getLogger("library").exception("failed")
        out = capsys.readouterr().out
        assert "hidden" not in out
        for line in map(json.loads, out.splitlines()):
            (stack,) = line["exception"]
            assert stack["exc_type"] == "ValueError"
            assert REDACTED in stack["exc_value"]
            assert stack["frames"][-1]["name"] == "fail"

    def test_are_readable_in_development(self, capsys: pytest.CaptureFixture[str]) -> None:
        as_text()
        try:
            fail("one\ntwo\x1b[31m token=hidden-1")
        except ValueError as error:
            group = ExceptionGroup("several", [error])
            structlog.get_logger().error("failed", exc_info=group)
        out = capsys.readouterr().out
        assert "in fail" in out
        assert "hidden" not in out
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
                logging.getLogger("library").info("%s", text, extra={"value": text})
                patch.undo()
        assert len(written) == 4
        for line in written:
            assert line.endswith("\n")
            assert len(line.splitlines()) == 1
            assert line[:-1].isprintable()

    @pytest.mark.parametrize("configure", [as_json, as_text])
    def test_text_that_is_no_unicode_is_still_written(
        self, capsys: pytest.CaptureFixture[str], configure: Callable[[], None]
    ) -> None:
        configure()
        structlog.get_logger().info("\ud800")
        assert "\\ud800" in capsys.readouterr().out

    def test_an_object_that_can_not_be_shown_is_named(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        as_json()
        structlog.get_logger().info("made", value=Unprintable())
        assert json_lines(capsys)[0]["value"] == "<Unprintable>"
