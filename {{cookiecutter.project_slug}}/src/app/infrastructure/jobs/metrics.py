"""Prometheus metrics of a worker."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Outcome = Literal["done", "failed", "dead", "cancelled", "handed back", "lost"]

_UPPER_BOUNDS = (0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, float("inf"))


class JobMetrics:
    """Counts and times attempts to run jobs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        labels = ["job"]

        def histogram(name: str, help_text: str) -> Histogram:
            return Histogram(name, help_text, labels, "", "", "", registry, None, _UPPER_BOUNDS)

        self._ended = Counter(
            "jobs", "Attempts to run jobs, by outcome.", [*labels, "outcome"], registry=registry
        )
        self._waited = histogram("job_wait_seconds", "Time from enqueueing to the first attempt.")
        self._took = histogram("job_duration_seconds", "Duration of an attempt.")
        self._running = Gauge("jobs_running", "Jobs in progress.", registry=registry)

    def begun(self, kind: str, tries: int, waited: float) -> None:
        """Count an attempt, and the seconds since its job was enqueued."""
        self._running.inc()
        if tries == 1:
            self._waited.labels(kind).observe(waited)

    def ended(self, kind: str, outcome: Outcome, seconds: float) -> None:
        """Count the outcome of an attempt."""
        self._running.dec()
        self._took.labels(kind).observe(seconds)
        self._ended.labels(kind, outcome).inc()
