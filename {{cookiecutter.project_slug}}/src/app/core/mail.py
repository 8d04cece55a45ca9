"""Mail, as services think of it."""

from dataclasses import dataclass, field
from uuid import UUID

from app.core.ids import new_id


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail in plain text to one person.

    Attributes:
        to: Address of the recipient.
        subject: One line. Logs may show it: it holds no secret.
        text: What the mail says. Logs never show it: it may hold one.
        id: Which mail it is. One that is sent again can be told from another that says the same.
    """

    to: str
    subject: str
    text: str
    id: UUID = field(default_factory=new_id, compare=False)
