"""Outbox."""

from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.infrastructure.database.models import Base
from app.infrastructure.outbox import OutboxColumns
from app.models.users import User


class OutboxMessage(OutboxColumns, Base):
    """A job that was enqueued and is not delivered."""

    owner_id: Mapped[UUID | None] = mapped_column(
        ForeignKey(User.id, ondelete="CASCADE"), index=True
    )
