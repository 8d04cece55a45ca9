"""Accounts."""

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.errors import InvalidToken
from app.domain.permissions import ROLES, Role
from app.domain.users import EmailTaken, UsernameTaken
from app.infrastructure.database.models import Base, Identified, Timestamped

_ROLE_NAMES = ", ".join(f"'{role}'" for role in ROLES)


class User(Identified, Timestamped, Base):
    """A person's account.

    If a new row refers to a missing user, the account was deleted after the request was
    authenticated: its token is no longer valid.
    """

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint(f"role IN ({_ROLE_NAMES})", name="role"),
        UniqueConstraint("email", info={"error": EmailTaken}),
        UniqueConstraint("username", info={"error": UsernameTaken}),
        Index(None, "created_at", "id"),
        Index(None, "role", "created_at", "id"),
        Index(None, "is_active", "created_at", "id"),
        {"info": {"missing": InvalidToken}},
    )

    email: Mapped[str] = mapped_column(String(254))
    username: Mapped[str] = mapped_column(String(32))
    full_name: Mapped[str | None] = mapped_column(String(200))
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[Role] = mapped_column(String(16), default="user")
    is_active: Mapped[bool] = mapped_column(default=True)
