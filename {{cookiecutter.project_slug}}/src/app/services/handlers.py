"""Who does which kind of job: the same, whichever process it is done in."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from app.core.ports import Job, Mailer, SendMail

J = TypeVar("J", bound=Job)


class Handlers:
    """One function for each kind of job."""

    def __init__(self) -> None:
        # `Any`: which function goes with which kind is known to `add` alone.
        self._by_kind: dict[type[Job], Callable[[Any], Awaitable[None]]] = {}

    def add(self, kind: type[J], handler: Callable[[J], Awaitable[None]]) -> None:
        """Have a function do the jobs of a kind."""
        self._by_kind[kind] = handler

    async def handle(self, job: Job) -> None:
        """Do a job.

        Raises:
            KeyError: Nobody does jobs of this kind.
            Exception: What its handler raises.
        """
        await self._by_kind[type(job)](job)


def common_handlers(mailer: Mailer) -> Handlers:
    """Return the handlers of the jobs that any process can do."""

    async def send_mail(job: SendMail) -> None:
        await mailer.send(job.mail)

    handlers = Handlers()
    handlers.add(SendMail, send_mail)
    return handlers
