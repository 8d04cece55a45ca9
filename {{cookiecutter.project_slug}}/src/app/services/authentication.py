"""Who is asking: bearer tokens become principals, at every request."""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from app.core.clock import utc_now
from app.core.errors import InvalidToken
from app.core.security.secrets import API_KEY_PREFIX, digest
from app.core.security.tokens import AccessClaims, AccessTokens
from app.domain.auth import KeyHolder, Principal, SessionHolder, SessionId
from app.domain.permissions import DELEGABLE, ROLES, permissions_in
from app.domain.users import UserId
from app.repositories.principals import PrincipalReader, touch_api_key
from app.services.ports import PrincipalCache, UnitsOfWork

_LAST_USE_PRECISION: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Checks what a request carries; roles and revocations count from the next request on."""

    database: UnitsOfWork
    principals: PrincipalCache
    tokens: AccessTokens

    async def authenticate(self, bearer: str) -> Principal:
        """Return who stands behind an access token or an API key.

        Raises:
            InvalidToken: Nobody, or nobody who may still come in.
        """
        if bearer.startswith(API_KEY_PREFIX):
            return await self._by_api_key(digest(bearer))
        claims = self.tokens.verify(bearer)
        holder = await self.principals.session(
            UserId(claims.user_id), SessionId(claims.session_id), partial(self._session, claims)
        )
        # What is remembered may be from before the end.
        if holder is None or holder.expires_at <= utc_now():
            raise InvalidToken("The session has ended.")
        permissions = ROLES[holder.user.role] & claims.scope
        return Principal(holder.user, permissions, session_id=SessionId(claims.session_id))

    async def _by_api_key(self, key_hash: str) -> Principal:
        holder = await self.principals.api_key(key_hash, partial(self._api_key, key_hash))
        if holder is None or (holder.expires_at is not None and holder.expires_at <= utc_now()):
            raise InvalidToken("The API key is not valid.")
        return _machine(holder)

    async def _session(self, claims: AccessClaims) -> SessionHolder | None:
        reader = PrincipalReader(self.database)
        return await reader.by_session(
            UserId(claims.user_id), SessionId(claims.session_id), utc_now()
        )

    async def _api_key(self, key_hash: str) -> KeyHolder | None:
        """Ask for a key, and note that it is used; what is remembered of it notes nothing."""
        now = utc_now()
        holder = await PrincipalReader(self.database).by_api_key(key_hash, now)
        if holder is None:
            return None
        if holder.last_used_at is None or now - holder.last_used_at >= _LAST_USE_PRECISION:
            async with self.database.transaction() as session:
                await touch_api_key(session, holder.key_id, now)
        return holder


def _machine(holder: KeyHolder) -> Principal:
    permissions = permissions_in(holder.scope) & ROLES[holder.user.role] & DELEGABLE
    return Principal(holder.user, permissions, api_key_id=holder.key_id)
