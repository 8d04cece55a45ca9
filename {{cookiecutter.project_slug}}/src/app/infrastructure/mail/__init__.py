"""Mail: one interface, `app.services.ports.Mailer`, and two ways to keep it."""

from app.core.config import MailSettings
from app.core.ports import Mailer
from app.infrastructure.mail.console import ConsoleMailer
from app.infrastructure.mail.smtp import SmtpMailer

__all__ = ["ConsoleMailer", "SmtpMailer", "build_mailer"]


def build_mailer(settings: MailSettings) -> Mailer:
    """The mailer that the settings choose; it opens nothing until it sends."""
    return SmtpMailer(settings) if settings.backend == "smtp" else ConsoleMailer()
