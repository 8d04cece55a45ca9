"""How the benchmarks have many clients hear a message."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks import fanout
from benchmarks.serving import App, Server

TALKATIVE = """
for line in iter(input, ""):
    print('{"seconds": [0.2, 0.1, 0.9], "cpu": 0.5}', flush=True)
"""


class Clock(Server):
    """A server that uses a second of the processor each time that somebody looks."""

    looks = 0

    def cpu_seconds(self) -> float:
        Clock.looks += 1
        return float(Clock.looks)


class TestCrowd:
    @pytest.fixture
    def crowd(self) -> Iterator[fanout.Crowd]:
        with subprocess.Popen(
            [sys.executable, "-c", TALKATIVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            server = Clock(App("service", (), {}, Path()), 1, 1, 0.0)
            yield fanout.Crowd(server, process, clients=100)
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()

    def test_notes_what_a_delivery_takes(self, crowd: fanout.Crowd) -> None:
        crowd.turn(10)
        crowd.turn(20)

        assert crowd.delivery_us == [1000, 500]
        assert crowd.hearing_us == [500, 250]
        assert crowd.until_all_ms == [200, 200]

    def test_does_not_count_what_warms_it(self, crowd: fanout.Crowd) -> None:
        crowd.warm()

        assert crowd.delivery_us == []

    def test_says_that_it_has_gone(self, crowd: fanout.Crowd) -> None:
        crowd.process.kill()
        crowd.process.wait()

        with pytest.raises(RuntimeError, match="the clients of service have gone"):
            crowd.turn(1)


class TestOpenFiles:
    @pytest.fixture
    def granted(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        granted: list[tuple[int, int]] = []
        monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
        monkeypatch.setattr(resource, "setrlimit", lambda _, limits: granted.append(limits))
        return granted

    def test_are_enough_for_few(self, granted: list[tuple[int, int]]) -> None:
        fanout.require_open_files(100)

        assert granted == []

    def test_are_asked_for(self, granted: list[tuple[int, int]]) -> None:
        fanout.require_open_files(1000)

        assert granted == [(1200, 4096)]

    @pytest.mark.usefixtures("granted")
    def test_may_be_too_few(self) -> None:
        with pytest.raises(fanout.OpenFilesError, match="--clients"):
            fanout.require_open_files(4000)
