"""Starts each server of `pytest_run_servers` once per run, when a test first needs it.

Workers of pytest-xdist learn from the process that starts them where the servers are.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, Final

import pytest

from dev_servers import ServerUnavailable

_SERVERS: Final = pytest.StashKey["_Servers"]()
_INPUT: Final = "servers"


class _Servers:
    """The servers of a run, as dictionaries."""

    def __init__(self, config: pytest.Config) -> None:
        self.running: dict[str, Any] = getattr(config, "workerinput", {}).get(_INPUT, {})
        self.stack = ExitStack()
        self._config = config

    def all(self) -> dict[str, Any]:
        """Start all servers concurrently."""
        with ThreadPoolExecutor() as threads:
            list(threads.map(self.start, self._openers()))
        return self.running

    def start(self, name: str) -> Any:
        """Start a server unless it is running."""
        if name not in self.running:
            try:
                server = self.stack.enter_context(self._openers()[name]())
            except ServerUnavailable as error:
                pytest.exit(str(error), returncode=1)
            self.running[name] = asdict(server)
        return self.running[name]

    def _openers(self) -> dict[str, Any]:
        found = self._config.hook.pytest_run_servers()
        return {name: opener for openers in found for name, opener in openers.items()}


def server(config: pytest.Config, name: str) -> Any:
    """Return the fields of a server."""
    return config.stash[_SERVERS].start(name)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SERVERS] = _Servers(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_SERVERS].stack.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the addresses of the servers to a worker."""
    node.workerinput[_INPUT] = node.config.stash[_SERVERS].all()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for running in config.stash[_SERVERS].running.values():
        terminalreporter.line(f"servers: {running['source']}")
