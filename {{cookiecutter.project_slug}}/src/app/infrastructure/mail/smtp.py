"""Mail by SMTP."""

import asyncio
import socket
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

import aiosmtplib

from app.core.config import MailSettings
from app.core.errors import Unavailable
from app.core.ports import Mail


class SmtpMailer:
    """Sends each mail over a connection of its own, encrypted unless the settings say otherwise."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings

    async def send(self, mail: Mail) -> None:
        """Send a mail.

        Raises:
            Unavailable: The server can't be reached, is too slow, or does not take the mail.
            ValueError: The address of the recipient is none.
        """
        message = _message(mail, sender=str(self._settings.sender))
        try:
            # The library limits each step; the sum of them has a limit, too (rule ASY03).
            async with asyncio.timeout(self._settings.timeout):
                await self._deliver(message, recipient=mail.to)
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unavailable("The mail could not be sent.", reason=repr(error)) from error

    async def _deliver(self, message: EmailMessage, recipient: str) -> None:
        settings = self._settings
        await aiosmtplib.send(
            message,
            sender=settings.sender,
            recipients=[recipient],
            hostname=settings.host,
            port=settings.port,
            username=settings.username,
            password=settings.password.get_secret_value() if settings.password else None,
            # Without it the library looks itself up in the DNS, and waits.
            local_hostname=socket.gethostname(),
            timeout=settings.timeout,
            use_tls=settings.tls,
            start_tls=settings.starttls and not settings.tls,
        )


def _message(mail: Mail, sender: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    # Parsed as one address, so that a comma or a new line in it can't add a recipient or a header.
    message["To"] = _address(mail.to)
    message["Subject"] = " ".join(mail.subject.split())
    # The same for each try: servers and readers pass over a mail that they have (RFC 5322 §3.6.4).
    message["Message-ID"] = f"<{mail.id}@{sender.rpartition('@')[2]}>"
    message.set_content(mail.text)
    return message


def _address(text: str) -> Address:
    try:
        return Address(addr_spec=text)
    except (ValueError, IndexError, HeaderParseError) as error:
        message = "the recipient is not one e-mail address in ASCII"
        raise ValueError(message) from error
