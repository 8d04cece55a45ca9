"""Work that is done after the answer, as typed objects."""

from dataclasses import dataclass

from app.core.mail import Mail


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do later.

    Each kind is a subclass whose fields say all there is to know; `app.services.handlers` says who
    does it.
    """


@dataclass(frozen=True, slots=True)
class SendMail(Job):
    """Send a mail."""

    mail: Mail
