"""Coverage counts calls in greenlets as well (rule TST09)."""

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import greenlet  # type: ignore[import-untyped]  # it has no types

from tests.support.coverage_plugin import GreenletTracing


class Stack:
    """Keeps count of calls, as a tracer does, and notes what returns that was not called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.seen: list[str] = []
        self.lost: list[str] = []

    def __call__(self, frame: FrameType, event: str, arg: Any) -> "Stack":
        name = frame.f_code.co_name
        if event == "call":
            self.calls.append(name)
            self.seen.append(name)
        elif event == "return" and (not self.calls or self.calls.pop() != name):
            self.lost.append(name)
        return self


def stacks_of(work: Callable[[], object]) -> list[Stack]:
    """Trace some work in a thread of its own; return the tracers that it took."""
    stacks: list[Stack] = []

    def start(frame: FrameType, event: str, arg: Any) -> Stack:
        stacks.append(Stack())
        sys.settrace(stacks[-1])
        return stacks[-1](frame, event, arg)

    def traced() -> None:
        GreenletTracing(start).follow()
        sys.settrace(start)
        work()
        sys.settrace(None)

    thread = threading.Thread(target=traced)
    thread.start()
    thread.join()
    return stacks


def waiting() -> str:
    greenlet.getcurrent().parent.switch("waits")
    return "ends"


def waited_for() -> None:
    other = greenlet.greenlet(waiting)
    assert other.switch() == "waits"
    assert after_the_switch() == "here"
    assert other.switch() == "ends"


def after_the_switch() -> str:
    return "here"


class TestGreenletTracing:
    def test_keeps_the_calls_of_greenlets_apart(self) -> None:
        ours, others = stacks_of(waited_for)

        assert ours.seen == ["waited_for", "after_the_switch"]
        assert others.seen == ["waiting"]
        assert [ours.lost, others.lost] == [[], []]

    def test_takes_the_tracer_of_a_greenlet_that_has_ended(self) -> None:
        def work() -> None:
            for _ in range(5):
                waited_for()

        stacks = stacks_of(work)

        assert len(stacks) == 2
        assert stacks[1].seen == ["waiting"] * 5

    def test_leaves_a_thread_alone_that_is_not_traced(self) -> None:
        def work() -> None:
            sys.settrace(None)
            waited_for()

        (before,) = stacks_of(work)
        assert before.seen == ["work"]
