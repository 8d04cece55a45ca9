"""The database: engine, transactions, measurements."""

from app.infrastructure.database.database import Database
from app.infrastructure.database.statistics import DatabaseStatistics, measure, statistics

__all__ = ["Database", "DatabaseStatistics", "measure", "statistics"]
