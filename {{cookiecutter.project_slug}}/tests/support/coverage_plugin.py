"""Has coverage follow SQLAlchemy into its greenlets, at the price of a switch and not of each call.

SQLAlchemy's asyncio layer runs in greenlets. To a tracer, a switch is calls that never return: it
loses count, and misses lines after an `await`. Coverage's own remedy (`concurrency = greenlet`)
asks for the current greenlet at every call and return of anything, libraries included. Here each
greenlet has a tracer of its own, as each thread has, and a switch changes tracers. What is measured
is the same.

Tracing doubles what a test takes, so that tests that reach nothing of their own go without:
`@pytest.mark.untraced`. With `--trace-once` only one case of a parametrized test is traced, and
of a test that asks by a plain client only the thread of the application. Each of these can only
make less of what is measured, never more.

Where coverage monitors lines and traces no calls, as it does on newer interpreters, there is
nothing to do, and none of this is done.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import greenlet  # type: ignore[import-untyped]  # it has no types
import pytest
from anyio.from_thread import BlockingPortal

if TYPE_CHECKING:
    from _typeshed import TraceFunction


class Tracers(threading.local):
    """The tracers of one thread, by greenlet; each keeps a stack of calls.

    Attributes:
        waiting: Those of greenlets that have switched to others.
        free: Those of greenlets that have ended; their stacks are empty.
    """

    def __init__(self) -> None:
        self.waiting: dict[greenlet.greenlet, TraceFunction] = {}
        self.free: list[TraceFunction] = []


class GreenletTracing:
    """Changes the tracer of a thread whenever a greenlet gives way to another.

    Args:
        start: What starts a tracer when it is called, as coverage does it in a new thread.
    """

    def __init__(self, start: "TraceFunction") -> None:
        self._start = start
        self._tracers = Tracers()

    def follow(self) -> None:
        """Follow the greenlets of this thread."""
        greenlet.settrace(self._switched)

    def in_new_thread(self, frame: FrameType, event: Any, arg: Any) -> "TraceFunction | None":
        """Trace a new thread and its greenlets; a function for `threading.settrace`."""
        self.follow()
        return self._start(frame, event, arg)

    def _switched(self, _: str, greenlets: tuple[greenlet.greenlet, greenlet.greenlet]) -> None:
        before, after = greenlets
        tracer = sys.gettrace()
        if tracer is None:
            return
        if before.dead:
            self._tracers.free.append(tracer)
        else:
            self._tracers.waiting[before] = tracer
        sys.settrace(self._tracers.waiting.pop(after, None) or self._unused())

    def _unused(self) -> "TraceFunction":
        return self._tracers.free.pop() if self._tracers.free else self._start


class Switch:
    """Turns tracing off and on, in this thread and in those of applications under test.

    This thread is traced inside `here` alone: what pytest does between is not ours to measure.
    """

    def __init__(self) -> None:
        self._is_on = True
        self._is_on_here = True
        self._portals: list[BlockingPortal] = []
        self._tracers = threading.local()

    @contextmanager
    def also_in(self, portal: BlockingPortal) -> Iterator[None]:
        """Have the thread of a portal traced as the tests are, while the block runs."""
        self._portals.append(portal)
        try:
            yield
        finally:
            self._portals.remove(portal)

    def turn(self, *, on: bool, here: bool) -> None:
        """Turn it off or on for what follows, and off in this thread if it is not to be `here`."""
        if threading.gettrace() is None:
            return
        self._is_on_here = on and here
        self._turn(on=False)  # until the next `here`
        if on is self._is_on:
            return
        self._is_on = on
        for portal in self._portals:
            portal.call(self._turn, on)

    @contextmanager
    def here(self) -> Iterator[None]:
        """Trace this thread while the block runs, if it is to be traced."""
        if threading.gettrace() is None:
            yield
            return
        before = sys.gettrace() is not None
        self._turn(self._is_on_here)
        try:
            yield
        finally:
            self._turn(before)

    def _turn(self, on: bool) -> None:
        tracer = sys.gettrace()
        if not on and tracer is not None:
            self._tracers.tracer = tracer
            sys.settrace(None)
        elif on and tracer is None:
            sys.settrace(getattr(self._tracers, "tracer", None))


switch = Switch()
_ONCE = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--trace-once",
        action="store_true",
        help="Have coverage trace one case of each test, and of the service alone if it is asked.",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "untraced: coverage does not trace it, which takes long")
    config.stash[_ONCE] = set()


@pytest.hookimpl(trylast=True)
def pytest_sessionstart() -> None:
    """Begin when coverage has begun."""
    start = threading.gettrace()
    if start is not None:
        tracing = GreenletTracing(start)
        tracing.follow()
        threading.settrace(tracing.in_new_thread)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Trace a test, or don't; it goes on to the next that is otherwise."""
    switch.turn(on=_is_traced(item), here=not _only_asks(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup() -> Iterator[Any]:
    """Trace what tests stand on."""
    with switch.here():
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call() -> Iterator[Any]:
    """Trace what tests do."""
    with switch.here():
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Iterator[Any]:
    """Trace what is done after a test."""
    with switch.here():
        return (yield)


@pytest.fixture(scope="session")
def traced_too() -> Callable[[BlockingPortal], AbstractContextManager[None]]:
    """Have the thread of a portal traced as the tests are."""
    return switch.also_in


def _is_traced(item: pytest.Item) -> bool:
    if item.get_closest_marker("untraced") is not None:
        return False
    if not item.config.getoption("trace_once"):
        return True
    test, known = item.nodeid.partition("[")[0], item.config.stash[_ONCE]
    is_first = test not in known
    known.add(test)
    return is_first


def _only_asks(item: pytest.Item) -> bool:
    """Whether a test does no more by itself than to ask an application in another thread."""
    return item.config.getoption("trace_once") and "client" in getattr(item, "fixturenames", ())
