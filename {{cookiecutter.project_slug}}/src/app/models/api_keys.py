"""API keys."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.clock import utc_now
from app.domain.api_keys import ApiKeyNameTaken
from app.infrastructure.database.models import Base, Identified
from app.models.users import User


class ApiKey(Identified, Base):
    """An API key of a user, with some of the user's permissions."""

    __tablename__ = "api_keys"
    __table_args__ = (
        UniqueConstraint("user_id", "name", info={"error": ApiKeyNameTaken}),
        Index(None, "user_id", "created_at", "id"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(4))
    scope: Mapped[str] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
