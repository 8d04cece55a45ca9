"""Base of all models."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import MetaData, Uuid
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.core.clock import utc_now
from app.core.ids import new_id
from app.infrastructure.database.dialect import UtcDateTime

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names of constraints, for migrations and errors to refer to."""


class Base(DeclarativeBase):
    """Base of all models."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar = {UUID: Uuid(), datetime: UtcDateTime}


class Identified:
    """A model with an id, which is known before the row is inserted."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id, sort_order=-1)


def _created_at(context: DefaultExecutionContext) -> datetime:
    """Return the `created_at` of a new row: its last change is its creation."""
    parameters: Mapping[str, Any] = context.current_parameters or {}
    moment: datetime = parameters["created_at"]
    return moment


class Timestamped:
    """A model with the times of its creation and last change."""

    created_at: Mapped[datetime] = mapped_column(default=utc_now, sort_order=1)
    updated_at: Mapped[datetime] = mapped_column(
        default=_created_at, onupdate=utc_now, sort_order=1
    )
