"""One service that the application stands on, as its module describes it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from dev_servers.server import Server


@dataclass(frozen=True, slots=True)
class Service:
    """One service that the application stands on; its module names it `SERVICE`.

    Attributes:
        variable: The setting that holds its address, as the environment spells it.
        open: Given the address, if one is configured, and a directory for data that last: makes
            sure that the service answers as long as the block runs.
    """

    variable: str
    open: Callable[[str | None, Path], AbstractContextManager[Server]]
