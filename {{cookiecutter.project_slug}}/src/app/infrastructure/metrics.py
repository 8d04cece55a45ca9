"""Metrics of a process: its resources, its event loop, and itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.core.errors import Unavailable
from app.core.ports import Measurement

Measure = Callable[[], Iterable[Measurement]]
"""Reads values from memory."""

Poll = Callable[[], Awaitable[Iterable[Measurement]]]
"""Queries gauges of a shared server; they become NaN when it raises `Unavailable`."""

_POLL_AFTER: Final = 15
_LAG_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, float("inf"))


@asynccontextmanager
async def recorded(
    registry: CollectorRegistry,
    measures: Iterable[Measure] = (),
    polls: Iterable[Poll] = (),
    *,
    seconds: float = 1.0,
) -> AsyncIterator[None]:
    """Record measurements, the process and the lag of its event loop while the block runs.

    Values are recorded at intervals, not at scrapes: another process may read them, from files.

    Args:
        registry: Registers the metrics.
        measures: Called at each interval.
        polls: Called at every fifteenth interval.
        seconds: The interval.
    """
    loop, recorder = asyncio.get_running_loop(), _Recorder(registry)
    name, description = "event_loop_lag_seconds", "Delay of a timer of the event loop."
    lag = Histogram(name, description, registry=registry, buckets=_LAG_BOUNDS)

    async def watch() -> None:
        while True:
            for measure in (*measures, _process):
                recorder.record(measure())
            due = loop.time() + seconds
            await asyncio.sleep(seconds)
            lag.observe(max(0.0, loop.time() - due))

    async def ask() -> None:
        shown: dict[Poll, Iterable[Measurement]] = {}
        while True:
            for poll in polls:
                try:
                    shown[poll] = tuple(await poll())
                except Unavailable:
                    # The last value would hide that messages pile up.
                    shown[poll] = [replace(each, value=nan) for each in shown.get(poll, ())]
                recorder.record(shown[poll])
            await asyncio.sleep(_POLL_AFTER * seconds)

    tasks = [asyncio.create_task(watch()), asyncio.create_task(ask())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def exported(registry: CollectorRegistry, host: str, port: int | None) -> Iterator[None]:
    """Serve metrics on a separate port, if one is set, while the block runs.

    Raises:
        OSError: The port is unavailable.
    """
    if port is None:
        yield
        return
    server, thread = start_http_server(port, host, registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def registry_of(directory: Path) -> CollectorRegistry:
    """Return the metrics of the processes that share a directory."""
    registry = CollectorRegistry()
    registry.register(_Files(directory))
    return registry


class _Files(Collector):
    """Metric files of processes. The library's collector fails on a file that is being created."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        files = []
        for each in self._directory.glob("*.db"):
            with suppress(FileNotFoundError):
                if each.stat().st_size:
                    files.append(str(each))
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


class _Recorder:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._metrics: dict[str, Counter | Gauge] = {}
        self._totals: dict[tuple[str, tuple[str, ...]], float] = {}

    def record(self, measurements: Iterable[Measurement]) -> None:
        for each in measurements:
            metric = self._metrics.get(each.name) or self._add(each)
            values = tuple(each.labels.values())
            child = metric.labels(*values) if values else metric
            if isinstance(child, Gauge):
                child.set(each.value)
            else:
                child.inc(each.value - self._totals.get((each.name, values), 0))
                self._totals[each.name, values] = each.value

    def _add(self, measurement: Measurement) -> Counter | Gauge:
        name, description, labels = measurement.name, measurement.description, measurement.labels
        metric: Counter | Gauge
        if name.endswith("_total"):
            metric = Counter(name, description, tuple(labels), registry=self._registry)
        else:
            metric = Gauge(
                name,
                description,
                tuple(labels),
                registry=self._registry,
                multiprocess_mode="liveall",  # each process has limits of its own
            )
        return self._metrics.setdefault(name, metric)


def _process() -> Iterator[Measurement]:
    for family in ProcessCollector(registry=None).collect():
        for sample in family.samples:
            yield Measurement(sample.name, family.documentation, sample.value)
