"""Jobs in this process."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

from app.config import Settings
from app.core.ports import HealthCheck, Job
from app.infrastructure.database import Database
from app.infrastructure.metrics import Poll
from app.infrastructure.outbox import Relay
from app.infrastructure.payloads import Message


class JobResources:
    """Jobs, run by tasks of the event loop."""

    relay: Relay
    polls: tuple[Poll, ...]

    async def open_jobs(
        self,
        stack: AsyncExitStack,
        settings: Settings,
        database: Database,
        kinds: Mapping[str, type[Job]],
        run: Callable[[Job], Awaitable[None]],
    ) -> list[HealthCheck]:
        """Open the relay, and return the health checks of jobs."""

        async def deliver(_: object, sent: Message) -> None:
            await run(sent.job)

        self.relay = Relay(database, kinds, deliver)
        self.polls = (self.relay.measure,)
        return []
