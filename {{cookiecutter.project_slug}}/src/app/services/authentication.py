"""Who is asking: bearer tokens become principals, at every request."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from app.core.security.secrets import API_KEY_PREFIX, digest
from app.core.security.tokens import AccessTokens
from app.domain.clock import utc_now
from app.domain.errors import InvalidToken
from app.domain.permissions import DELEGABLE, ROLES, permissions_in
from app.domain.principals import Principal
from app.repositories.principals import KeyHolder, PrincipalReader, touch_api_key
from app.services.ports import UnitsOfWork

_LAST_USE_PRECISION: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Checks what a request carries; roles and revocations count from the next request on."""

    database: UnitsOfWork
    tokens: AccessTokens

    async def authenticate(self, bearer: str) -> Principal:
        """Return who stands behind an access token or an API key.

        Raises:
            InvalidToken: Nobody, or nobody who may still come in.
        """
        if bearer.startswith(API_KEY_PREFIX):
            return await self._by_api_key(bearer)
        claims = self.tokens.verify(bearer)
        async with self.database.read() as connection:
            reader = PrincipalReader(connection)
            user = await reader.by_session(claims.user_id, claims.session_id, utc_now())
        if user is None:
            raise InvalidToken("The session has ended.")
        permissions = claims.permissions & ROLES[user.role]
        return Principal(user, permissions, session_id=claims.session_id)

    async def _by_api_key(self, key: str) -> Principal:
        now = utc_now()
        async with self.database.read() as connection:
            holder = await PrincipalReader(connection).by_api_key(digest(key), now)
        if holder is None:
            raise InvalidToken("The API key is not valid.")
        if holder.last_used_at is None or now - holder.last_used_at >= _LAST_USE_PRECISION:
            async with self.database.transaction() as session:
                await touch_api_key(session, holder.key_id, now)
        return _machine(holder)


def _machine(holder: KeyHolder) -> Principal:
    permissions = permissions_in(holder.scope) & ROLES[holder.user.role] & DELEGABLE
    return Principal(holder.user, permissions, api_key_id=holder.key_id)
