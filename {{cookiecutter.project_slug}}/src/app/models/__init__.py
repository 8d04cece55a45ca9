"""The tables, all of them: Alembic compares the database with what is imported here."""

from app.models.api_key import ApiKey
from app.models.auth_session import AuthSession, RefreshToken
from app.models.base import Base

# {%- if cookiecutter.use_s3 +%}
from app.models.file import File as File

# {%- endif +%}
# {%- if not cookiecutter.use_redis +%}
from app.models.idempotency_key import IdempotencyKey as IdempotencyKey

# {%- endif +%}
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
