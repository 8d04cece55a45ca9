"""Models of the tests' own: infrastructure is tested without the application's."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from polyfactory import Use
from sqlalchemy import CheckConstraint, ForeignKey, MetaData, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.config import Settings
from app.core.clock import utc_now
from app.core.errors import Conflict, Forbidden
from app.core.ids import new_id
from app.infrastructure.database import Database, DatabaseStatistics, statistics
from app.infrastructure.database.models import NAMING_CONVENTION, Base, Identified, Timestamped
from app.infrastructure.throttle import ThrottleCounter
from tests.support.factories import RowFactory

OWN = MetaData(naming_convention=NAMING_CONVENTION)


class NameTaken(Conflict):
    """Another author has the name."""


class AuthorGone(Forbidden):
    """The author was deleted."""


class Author(Identified, Base):
    __tablename__ = "authors"
    metadata = OWN
    __table_args__ = (
        UniqueConstraint("name", info={"error": NameTaken}),
        UniqueConstraint("rank", "id", name="uq_authors_short"),
        CheckConstraint("rank > 0", name="rank"),
        {"info": {"missing": AuthorGone}},
    )

    name: Mapped[str] = mapped_column(String(100))
    rank: Mapped[int] = mapped_column(default=1)


class Note(Identified, Timestamped, Base):
    __tablename__ = "notes"
    metadata = OWN

    author_id: Mapped[UUID] = mapped_column(ForeignKey(Author.id, ondelete="CASCADE"))
    text: Mapped[str] = mapped_column(String(200), default="")
    rank: Mapped[int] = mapped_column(default=1)
    day: Mapped[date] = mapped_column(default=lambda: utc_now().date())
    version: Mapped[int] = mapped_column()

    author: Mapped[Author] = relationship(lazy="raise")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - read once, by the mapper


class Guesses(ThrottleCounter):
    __tablename__ = "guesses"
    metadata = OWN


class AuthorFactory(RowFactory[Author]):
    id = Use(new_id)
    name = Use(lambda: new_id().hex)
    rank = 1


class NoteFactory(RowFactory[Note]):
    __set_relationships__ = False

    id = Use(new_id)
    text = ""
    rank = 1
    day = Use(lambda: utc_now().date())
    version = 1
    created_at = Use(utc_now)
    updated_at = Use(utc_now)


class GuessesFactory(RowFactory[Guesses]):
    failures = 0


@dataclass(frozen=True, slots=True)
class ReadNote:
    """A note, as it is read."""

    id: UUID
    text: str
    rank: int
    day: date
    created_at: datetime


@contextmanager
def measure() -> Iterator[DatabaseStatistics]:
    """Record statistics of all statements in the block."""
    account = DatabaseStatistics()
    token = statistics.set(account)
    try:
        yield account
    finally:
        statistics.reset(token)


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """Yield the database of these settings."""
    async with Database.open(settings.database, pool_size=settings.database_pool_size) as database:
        yield database


@asynccontextmanager
async def with_own_tables(settings: Settings) -> AsyncIterator[Database]:
    """Yield a database of one test's own, with the tables of these models."""
    async with open_database(settings) as database:
        async with database.transaction() as session:
            await (await session.connection()).run_sync(OWN.create_all)
        yield database
