"""Tasks of notifications."""

import structlog

from app.core.ports import Mail
from app.domain.notifications import TEMPLATES, SendMail
from app.repositories.users import UserRepository
from app.resources import Resources

logger = structlog.stdlib.get_logger(__name__)


async def send_mail(job: SendMail, resources: Resources) -> None:
    """Send a mail, unless its account, which has the address, was deleted."""
    to = job.to
    if to is None:
        async with resources.database.read() as connection:
            user = await UserRepository(connection).get(job.user_id)
        if user is None:
            logger.info("mail dropped", template=job.template)
            return
        to = user.email
    subject, text = TEMPLATES[job.template]
    await resources.mailer.send(Mail(to, subject, text.format(**job.values), id=job.id))
