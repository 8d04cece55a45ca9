"""What services need from the outside world; adapters in `app.infrastructure` give it."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.jobs import Job
from app.domain.mail import Mail
from app.repositories.session import Session


class UnitsOfWork(Protocol):
    """Opens units of work, for what must not share the transaction of a request."""

    def transaction(self) -> AbstractAsyncContextManager[Session]:
        """Yield a session for writing: committed at the end, rolled back on any error."""

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Yield a connection for reading, without a transaction around its statements."""

    def snapshot(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Yield a connection for a long read, which sees all rows as of one moment."""


class Jobs(Protocol):
    """Takes work that is to be done after the answer."""

    async def enqueue(self, job: Job) -> None:
        """Take a job. Call it after the commit: `session.after_commit(...)`."""


class Mailer(Protocol):
    """Sends mail."""

    async def send(self, mail: Mail) -> None:
        """Send a mail.

        Raises:
            Unavailable: The mail server does not take it.
        """
