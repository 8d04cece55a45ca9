"""What it means to the domain when a constraint of the database is violated: the one table."""

from typing import Final

from app.domain.errors import ApiKeyNameTaken, Conflict, EmailTaken, UsernameTaken

CONSTRAINTS: Final[dict[str, type[Conflict]]] = {
    "uq_users_email": EmailTaken,
    "uq_users_username": UsernameTaken,
    "uq_api_keys_user_id_name": ApiKeyNameTaken,
}
