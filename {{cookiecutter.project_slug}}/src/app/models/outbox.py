"""Outbox."""

# {% if cookiecutter.use_arq %}
from uuid import UUID

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

# {% endif %}
from app.infrastructure.database.models import Base
from app.infrastructure.outbox import OutboxColumns


class OutboxMessage(OutboxColumns, Base):
    """A job that was enqueued and is not delivered."""

    # {%- if cookiecutter.use_arq +%}

    owner_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str | None] = mapped_column(String(200))  # identifies equal jobs of an owner
    cancelled: Mapped[bool] = mapped_column(default=False)
    # {%- endif +%}
