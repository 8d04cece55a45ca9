"""What all tables have in common."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import MetaData, Uuid
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.core.clock import utc_now
from app.core.ids import new_id
from app.infrastructure.database.types import UtcDateTime

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Constraints get names that we know, so that migrations and errors can refer to them."""


class Base(DeclarativeBase):
    """The root of all entities."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar = {UUID: Uuid(), datetime: UtcDateTime}


class Identified:
    """An id made by us, so that it is known before the row is stored."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id, sort_order=-1)


def _created_at(context: DefaultExecutionContext) -> datetime:
    """Return the value of `created_at`: a new row has last changed when it was created."""
    parameters: Mapping[str, Any] = context.current_parameters or {}
    moment: datetime = parameters["created_at"]
    return moment


class Timestamped:
    """When a row came to be and when it last changed."""

    created_at: Mapped[datetime] = mapped_column(default=utc_now, sort_order=1)
    updated_at: Mapped[datetime] = mapped_column(
        default=_created_at, onupdate=utc_now, sort_order=1
    )
