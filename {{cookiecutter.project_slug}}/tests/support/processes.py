"""The service in processes of its own, as production runs it."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, SecretStr

from app.cli.serve import COMMAND
from app.core.config import Settings
from tests.support.sockets import PATIENCE, eventually

_LISTENING = re.compile(r"Listening at: http://127\.0\.0\.1:(\d+)")
_WORKER = re.compile(r"Booting worker with pid: (\d+)")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server with one worker.

    Attributes:
        worker: The id of the process that serves.
        log: What it writes.
    """

    process: asyncio.subprocess.Process
    port: int
    worker: int
    log: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def terminate(self) -> int:
        """Have it end as an orchestrator does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    async def memory(self) -> int:
        """What the worker takes of the machine's memory, in bytes."""
        done = await asyncio.to_thread(
            subprocess.run,
            ["ps", "-o", "rss=", "-p", str(self.worker)],
            capture_output=True,
            check=True,
            timeout=PATIENCE,
        )
        return int(done.stdout) * 1024


@asynccontextmanager
async def server_process(settings: Settings, directory: Path) -> AsyncIterator[ServerProcess]:
    """Run a server by these settings, on a free port and with one worker."""
    log = directory / "server.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            cwd=directory,
            env={
                **os.environ,
                **environment_of(settings),
                "APP_SERVER__PORT": "0",
                "APP_SERVER__WORKERS": "1",
            },
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    async def is_up() -> bool:
        assert process.returncode is None, log.read_text()
        return "Application startup complete" in log.read_text()

    try:
        await eventually(is_up)
        text = log.read_text()
        listening, worker = _LISTENING.search(text), _WORKER.search(text)
        assert listening is not None
        assert worker is not None
        yield ServerProcess(process, int(listening[1]), int(worker[1]), log)
    finally:
        # The session is its own: its workers go with it, whatever has become of it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables that make these settings, as far as they were set."""
    variables = {}
    for name, value in settings:
        if isinstance(value, BaseModel):
            for field in value.model_fields_set:
                variables[f"APP_{name}__{field}".upper()] = _text(getattr(value, field))
        elif name in settings.model_fields_set:
            variables[f"APP_{name}".upper()] = _text(value)
    return variables


def _text(value: object) -> str:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case bool():
            return str(value).lower()
        case list():
            return ",".join(value)
        case None:
            return ""
        case _:
            return str(value)
