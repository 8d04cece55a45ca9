"""Accounts."""

from sqlalchemy import CheckConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.permissions import ROLES, Role
from app.infrastructure.database.models import Base, Identified, Timestamped

_ROLE_NAMES = ", ".join(f"'{role}'" for role in ROLES)


class User(Identified, Timestamped, Base):
    """A person's account."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint(f"role IN ({_ROLE_NAMES})", name="role"),
        Index(None, "created_at", "id"),
        Index(None, "role", "created_at", "id"),
        Index(None, "is_active", "created_at", "id"),
    )

    email: Mapped[str] = mapped_column(String(254), unique=True)
    username: Mapped[str] = mapped_column(String(32), unique=True)
    full_name: Mapped[str | None] = mapped_column(String(200))
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[Role] = mapped_column(String(16), default="user")
    is_active: Mapped[bool] = mapped_column(default=True)
