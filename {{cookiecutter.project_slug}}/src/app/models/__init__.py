"""The tables, all of them: Alembic compares the database with what is imported here."""

from app.models.api_key import ApiKey
from app.models.auth_session import AuthSession, RefreshToken
from app.models.base import Base
from app.models.item import Item
from app.models.login_throttle import LoginThrottle
from app.models.user import User

__all__ = [
    "ApiKey",
    "AuthSession",
    "Base",
    "Item",
    "LoginThrottle",
    "RefreshToken",
    "User",
]
