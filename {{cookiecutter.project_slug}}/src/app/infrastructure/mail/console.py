"""Mail for development: a line in the log."""

import structlog

from app.core.ports import Mail

logger = structlog.get_logger(__name__)


class ConsoleMailer:
    """Tells the log that there would be a mail, and never what is in it."""

    async def send(self, mail: Mail) -> None:
        """Log recipient and subject."""
        logger.info("mail", to=mail.to, subject=mail.subject, characters=len(mail.text))
