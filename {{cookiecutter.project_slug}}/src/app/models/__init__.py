"""All models: Alembic compares the database with those imported here."""

from app.infrastructure.database.models import Base
from app.models.api_keys import ApiKey

# {%- if cookiecutter.use_s3 +%}
from app.models.files import File as File

# {%- endif +%}
# {%- if not cookiecutter.use_redis +%}
from app.models.idempotency_keys import IdempotencyKey as IdempotencyKey

# {%- endif +%}
from app.models.items import Item
from app.models.login_throttles import LoginThrottle
from app.models.sessions import AuthSession, RefreshToken
from app.models.users import User

__all__ = [
    "ApiKey",
    "AuthSession",
    "Base",
    "Item",
    "LoginThrottle",
    "RefreshToken",
    "User",
]
