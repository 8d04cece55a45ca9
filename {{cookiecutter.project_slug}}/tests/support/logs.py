"""Restoration of the logging configuration after a test."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def logging_restored(*names: str) -> Iterator[None]:
    """Restore structlog, the root logger and the loggers of these names after the block."""
    config = structlog.get_config()
    processors = config["processors"][:]
    loggers = [logging.getLogger(name) for name in (None, *names)]
    before = [(each, each.handlers[:], each.level, each.propagate) for each in loggers]
    try:
        yield
    finally:
        logging.captureWarnings(False)
        structlog.contextvars.clear_contextvars()
        config["processors"][:] = processors
        structlog.configure(**config)
        for each, handlers, level, propagate in before:
            each.handlers, each.propagate = handlers, propagate
            each.setLevel(level)
