"""Mail, as services think of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail in plain text to one person.

    Attributes:
        to: Address of the recipient.
        subject: One line. Logs may show it: it holds no secret.
        text: What the mail says. Logs never show it: it may hold one.
    """

    to: str
    subject: str
    text: str
