"""Work that is done after the answer, as typed objects."""

from dataclasses import dataclass

from app.domain.mail import Mail


@dataclass(frozen=True, slots=True)
class SendMail:
    """Send a mail."""

    mail: Mail


Job = SendMail
