"""What it means to the domain when a constraint of the database is violated: the one table."""

from typing import Final

from app.core.errors import DomainError, InvalidToken
from app.domain.api_keys import ApiKeyNameTaken
from app.domain.users import EmailTaken, UsernameTaken

CONSTRAINTS: Final[dict[str, type[DomainError]]] = {
    "uq_users_email": EmailTaken,
    "uq_users_username": UsernameTaken,
    "uq_api_keys_user_id_name": ApiKeyNameTaken,
    # Who asks was there when the request was authenticated, and is no longer.
    "fk_items_owner_id_users": InvalidToken,
    "fk_api_keys_user_id_users": InvalidToken,
}
