"""Metadata of files; their content is in the file store."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.files import LONGEST_NAME, FileState
from app.infrastructure.database.models import Base, Identified, Timestamped
from app.models.users import User


class File(Identified, Timestamped, Base):
    """A file of a user, or space reserved for one.

    A file that is not ready reserves `size` bytes until `expires_at`. `content_id` names the object
    with its content. Until `signed_until`, the client can upload content directly.
    """

    __tablename__ = "files"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'ready', 'cancelled')", name="state"),
        CheckConstraint("(state = 'ready') = (expires_at IS NULL)", name="expires_at"),
        CheckConstraint(
            "state <> 'ready' OR (sha256 IS NOT NULL AND content_id IS NOT NULL)", name="content"
        ),
        Index(None, "owner_id", "state", "created_at", "id"),
        Index(None, "owner_id", "state", "name", "id"),
    )

    owner_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))
    state: Mapped[FileState] = mapped_column(String(16), default="pending")
    name: Mapped[str] = mapped_column(String(LONGEST_NAME))
    media_type: Mapped[str] = mapped_column(String(127))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    content_id: Mapped[UUID | None]
    signed_until: Mapped[datetime | None]
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
