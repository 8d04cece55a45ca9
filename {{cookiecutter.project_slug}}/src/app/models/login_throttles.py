"""Failed logins, counted."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.infrastructure.database.models import Base


class LoginThrottle(Base):
    """How often logins have failed for one account or from one address.

    The key is a hash: the table tells nobody which names were tried. A count holds for one window
    from its first failure on, so that failures which are far apart never add up.
    """

    __tablename__ = "login_throttles"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int]
    window_started_at: Mapped[datetime] = mapped_column(index=True)
    last_failed_at: Mapped[datetime]
