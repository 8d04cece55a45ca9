"""The database: engine, sessions, base of models and repositories."""

from app.infrastructure.database.database import Database, Session
from app.infrastructure.database.repository import Repository, in_orders
from app.infrastructure.database.statistics import DatabaseStatistics, statistics

__all__ = [
    "Database",
    "DatabaseStatistics",
    "Repository",
    "Session",
    "in_orders",
    "statistics",
]
