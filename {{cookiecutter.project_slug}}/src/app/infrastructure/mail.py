"""Mail: by SMTP, to files in development, or not at all."""

import asyncio
import socket
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import aiosmtplib
import structlog

from app.core.config import MailSettings
from app.core.errors import Unavailable
from app.core.ports import Mail, Mailer
from app.core.security.keys import write_private

logger = structlog.get_logger(__name__)


def build_mailer(settings: MailSettings, *, development: bool) -> Mailer:
    """Return the mailer of the settings."""
    if settings.backend == "smtp":
        return SmtpMailer(settings)
    return FileMailer() if development else ConsoleMailer()


class ConsoleMailer:
    """Logs mails without their text."""

    async def send(self, mail: Mail) -> None:
        """Log recipient and subject."""
        logger.info("mail", to=mail.to, subject=mail.subject, characters=len(mail.text))


class FileMailer:
    """Writes mails to `.dev/mail`, for the developer alone: they may hold secrets."""

    async def send(self, mail: Mail) -> None:
        """Write a mail; log its file."""
        message = _message(mail, sender="service@localhost")
        # Else long links would be broken.
        message.set_content(mail.text, cte="8bit")
        file = Path(".dev/mail") / f"{mail.id}.eml"
        await asyncio.to_thread(write_private, file, message.as_bytes().decode())
        logger.info("mail", to=mail.to, subject=mail.subject, file=str(file))


class SmtpMailer:
    """Sends each mail over a new connection, encrypted unless the settings disable that."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings

    async def send(self, mail: Mail) -> None:
        """Send a mail.

        Raises:
            Unavailable: The server is unreachable, too slow, or refuses the mail.
            ValueError: The recipient's address is invalid.
        """
        settings = self._settings
        message = _message(mail, sender=str(settings.sender))
        try:
            # The library limits each step, this all of them.
            async with asyncio.timeout(settings.timeout):
                await aiosmtplib.send(
                    message,
                    sender=settings.sender,
                    recipients=[mail.to],
                    hostname=settings.host,
                    port=settings.port,
                    username=settings.username,
                    password=settings.password.get_secret_value() if settings.password else None,
                    # The default is a DNS lookup, which blocks.
                    local_hostname=socket.gethostname(),
                    timeout=settings.timeout,
                    use_tls=settings.tls,
                    start_tls=settings.starttls and not settings.tls,
                )
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unavailable("The mail could not be sent.", reason=repr(error)) from error


def _message(mail: Mail, sender: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    try:
        # Parsed, so that a comma or line break cannot add a recipient or a header.
        message["To"] = Address(addr_spec=mail.to)
    except (ValueError, IndexError, HeaderParseError) as error:
        raise ValueError("the recipient is not one e-mail address in ASCII") from error
    message["Subject"] = " ".join(mail.subject.split())
    # The same on each try, so that duplicates are recognized (RFC 5322 §3.6.4).
    message["Message-ID"] = f"<{mail.id}@{sender.rpartition('@')[2]}>"
    message.set_content(mail.text)
    return message
