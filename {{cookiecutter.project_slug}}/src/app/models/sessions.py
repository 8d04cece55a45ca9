"""Login sessions and their refresh tokens."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.core.clock import utc_now
from app.core.errors import InvalidToken
from app.infrastructure.database.dialect import only_where
from app.infrastructure.database.models import Base, Identified
from app.models.users import User


class AuthSession(Identified, Base):
    """A login session: a family of refresh tokens.

    Revoking the row revokes the family and its access tokens at once.
    """

    __tablename__ = "auth_sessions"
    __table_args__ = (
        Index(None, "user_id", "created_at", "id"),
        # A login ends the least recently used sessions beyond the quota.
        Index(None, "user_id", "last_used_at", "id", **only_where("revoked_at IS NULL")),
        Index(None, "expires_at"),
        Index(None, "revoked_at"),
        # A new row refers to a missing session if the account was deleted meanwhile.
        {"info": {"missing": InvalidToken}},
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))
    scope: Mapped[str] = mapped_column(String(500))
    user_agent: Mapped[str] = mapped_column(String(255))
    ip_address: Mapped[str] = mapped_column(String(45))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    last_used_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="raise")


class RefreshToken(Identified, Base):
    """A single-use refresh token; using it creates the next one."""

    __tablename__ = "refresh_tokens"

    session_id: Mapped[UUID] = mapped_column(
        ForeignKey(AuthSession.id, ondelete="CASCADE"), index=True
    )
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    used_at: Mapped[datetime | None]

    session: Mapped[AuthSession] = relationship(lazy="raise")
