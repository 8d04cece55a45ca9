"""What a worker counts, for Prometheus."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from app.config import Settings
from app.worker.worker import Outcome

_UPPER_BOUNDS = (0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, float("inf"))


class JobMetrics:
    """Counts and times jobs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Keep the numbers in this registry."""
        kind = ["job"]

        def histogram(name: str, says: str) -> Histogram:
            return Histogram(name, says, kind, "", "", "", registry, None, _UPPER_BOUNDS)

        self._ended = Counter(
            "jobs", "Tries of jobs, by how they ended.", [*kind, "outcome"], registry=registry
        )
        self._waited = histogram(
            "job_wait_seconds", "Time from the request for a job to its first try."
        )
        self._took = histogram("job_duration_seconds", "Time of one try.")
        self._running = Gauge("jobs_running", "Jobs that run just now.", registry=registry)

    def begun(self, kind: str, tries: int, waited: float) -> None:
        """Note the start of a try, and how many seconds after it was asked for."""
        self._running.inc()
        if tries == 1:
            self._waited.labels(kind).observe(waited)

    def ended(self, kind: str, outcome: Outcome, seconds: float) -> None:
        """Note the end of a try."""
        self._running.dec()
        self._took.labels(kind).observe(seconds)
        self._ended.labels(kind, outcome).inc()


@contextmanager
def shown(settings: Settings) -> Iterator[JobMetrics]:
    """Count while the block runs, and show the numbers if the settings want that.

    Raises:
        OSError: The port is not to be had.
    """
    registry = CollectorRegistry()
    metrics = JobMetrics(registry)
    port = settings.jobs.metrics_port
    if port is None or not settings.metrics.enabled:
        yield metrics
        return
    server, thread = start_http_server(port, settings.jobs.metrics_host, registry)
    try:
        yield metrics
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
