"""The process that has the worker of `app dev` start again; it imports nothing of the service."""

from contextlib import suppress
from pathlib import Path
from typing import Final

import watchfiles

from app.cli.processes import end_with_parent

SOURCE: Final = Path(__file__).parents[1]
WORK: Final = "app.cli.companions.work"


def work() -> None:
    """Do jobs in a further process, and start that again whenever a source file changes."""
    end_with_parent()
    # Ctrl-C comes twice: from the terminal, and from whoever started us.
    with suppress(KeyboardInterrupt):
        watchfiles.run_process(
            SOURCE, target=WORK, target_type="function", watch_filter=watchfiles.PythonFilter()
        )
