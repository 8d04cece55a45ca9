"""All models: Alembic compares those imported here with the database."""

from app.infrastructure.database.models import Base as Base
from app.models.api_keys import ApiKey as ApiKey

# {%- if cookiecutter.use_s3 +%}
from app.models.files import File as File

# {%- endif +%}
from app.models.idempotency_keys import IdempotencyKey as IdempotencyKey
from app.models.items import Item as Item
from app.models.login_throttles import LoginThrottle as LoginThrottle
from app.models.outbox import OutboxMessage as OutboxMessage
from app.models.sessions import AuthSession as AuthSession
from app.models.sessions import RefreshToken as RefreshToken
from app.models.users import User as User
