"""Notifications to users by mail."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID

from typing_extensions import TypeAliasType

from app.core.ids import new_id
from app.core.ports import Job
from app.domain.users import UserId

MailTemplate = TypeAliasType(
    "MailTemplate",
    Literal["account_deleted", "api_key_created", "email_changed", "password_changed"],
)

_NOT_YOU: Final = "If that was not you, ask for help at once: somebody else may have your account."

TEMPLATES: Final[Mapping[MailTemplate, tuple[str, str]]] = {
    "account_deleted": ("Your account was deleted", _NOT_YOU),
    "api_key_created": (
        "An API key of your account was created",
        "Name: {name}. The key ends in {hint}. If that was not you, revoke it.",
    ),
    "email_changed": ("Your e-mail address was changed", _NOT_YOU),
    "password_changed": ("Your password was changed", _NOT_YOU),
}
"""Subject and text of each mail."""


@dataclass(frozen=True, slots=True)
class SendMail(Job):
    """Send a mail, whose text is rendered at delivery.

    Attributes:
        to: Recipient; by default, the address of the account at delivery.
        values: Values of the template; no secrets.
        id: Identifies the mail across retries.
    """

    template: MailTemplate
    user_id: UserId
    to: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    id: UUID = field(default_factory=new_id, compare=False)
