"""Who stands behind tokens, asked each time."""

from collections.abc import Awaitable, Callable, Collection

from app.domain.auth import KeyHolder, SessionHolder, SessionId
from app.domain.users import UserId


class NullPrincipals:
    """Remembers nobody: every request asks the database, and there is nothing to forget."""

    async def session(
        self,
        user_id: UserId,
        session_id: SessionId,
        load: Callable[[], Awaitable[SessionHolder | None]],
    ) -> SessionHolder | None:
        """Return who has logged in, as the database knows it."""
        return await load()

    async def api_key(
        self, key_hash: str, load: Callable[[], Awaitable[KeyHolder | None]]
    ) -> KeyHolder | None:
        """Return who holds an API key, as the database knows it."""
        return await load()

    async def forget_user(self, user_id: UserId) -> None:
        """Nothing is remembered."""

    async def forget_sessions(self, session_ids: Collection[SessionId]) -> None:
        """Nothing is remembered."""

    async def forget_api_key(self, key_hash: str) -> None:
        """Nothing is remembered."""
