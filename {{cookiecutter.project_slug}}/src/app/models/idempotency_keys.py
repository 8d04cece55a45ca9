"""Idempotency keys."""

from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.infrastructure.database.models import Base
from app.infrastructure.idempotency import IdempotencyKeyColumns
from app.models.users import User


class IdempotencyKey(IdempotencyKeyColumns, Base):
    """The key of a request that was carried out, and its response."""

    __table_args__ = (Index(None, "user_id", "expires_at"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))
