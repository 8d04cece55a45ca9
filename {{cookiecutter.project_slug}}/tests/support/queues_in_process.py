"""Workers of this variant: there are none, the relay runs the jobs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from app.config import Settings
from app.core.ports import Job
from app.infrastructure.database import Database
from app.infrastructure.outbox import Relay
from app.infrastructure.payloads import Message
from app.resources import Resources
from tests.support.arrange import KINDS
from tests.support.waiting import PATIENCE


@asynccontextmanager
async def opened(
    settings: Settings, database: Database, run: Callable[[Job], Awaitable[None]]
) -> AsyncIterator[Relay]:
    """Yield a relay, whose jobs are run."""

    async def deliver(_: object, sent: Message) -> None:
        await run(sent.job)

    relay = Relay(database, KINDS, deliver)
    async with relay.open(PATIENCE):
        yield relay


@asynccontextmanager
async def workers(resources: Resources) -> AsyncIterator[None]:
    """Run the jobs of an application."""
    yield
