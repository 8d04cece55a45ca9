# file: src/app/services/violation.py
"""Break a rule."""

from app.core.ports import Mail, Mailer


class Silent:
    """Send nothing."""

    async def deliver(self, mail: Mail) -> None:
        """Do nothing."""


mailer: Mailer = Silent()  # caught
