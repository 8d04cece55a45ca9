"""Idempotency keys."""

from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.infrastructure.database.models import Base
from app.infrastructure.replays import IdempotencyKeyColumns
from app.models.users import User


class IdempotencyKey(IdempotencyKeyColumns, Base):
    """The claim of a request, and its response once it has ended."""

    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
