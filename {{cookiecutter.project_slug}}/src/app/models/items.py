"""Items."""

# {% block imports %}
# {% endblock %}
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.items import ItemStatus
from app.infrastructure.database.models import Base, Identified, Timestamped
from app.models.users import User


class Item(Identified, Timestamped, Base):
    """An item of a user.

    # {% block ordered %}
    Each order of the list has an index that starts with the owner and ends with the id, which
    breaks ties.
    # {% endblock %}
    """

    __tablename__ = "items"
    __table_args__ = (
        # {% block constraints %}
        CheckConstraint("status IN ('draft', 'active', 'archived')", name="status"),
        Index(None, "owner_id", "created_at", "id"),
        Index(None, "owner_id", "updated_at", "id"),
        Index(None, "owner_id", "title", "id"),
        Index(None, "owner_id", "status", "created_at", "id"),
        # {% endblock %}
    )

    owner_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))
    # {% block columns %}
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[ItemStatus] = mapped_column(String(16), default="draft")
    # {% endblock %}
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - read once, by the mapper
