"""Logging in and out: sessions and their rotating refresh tokens (RFC 9700 §4.14.2).

Nothing here uses the transaction of the request: what a failed login or a replayed token leaves
behind must survive the error that answers it.
"""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog

from app.core.clock import utc_now
from app.core.config import AuthSettings
from app.core.errors import FieldError, InvalidInput
from app.core.ids import new_id
from app.core.pages import Page, PageRequest
from app.core.security.passwords import PasswordHasher
from app.core.security.secrets import digest, new_refresh_token
from app.core.security.tokens import AccessTokens
from app.domain.auth import (
    Client,
    InvalidCredentials,
    InvalidRefreshToken,
    LoginSession,
    RefreshTokenReused,
    SessionId,
    SessionNotFound,
    TokenPair,
)
from app.domain.permissions import ROLES, permissions_in, scope_of
from app.domain.users import Credentials, UserId, normalized_email
from app.infrastructure.database.session import Session
from app.models import AuthSession, RefreshToken
from app.repositories.login_throttles import LoginThrottleReader, LoginThrottleRepository
from app.repositories.sessions import (
    RefreshTokenRepository,
    SessionReader,
    SessionRepository,
)
from app.repositories.users import UserReader, UserRepository
from app.services.ports import PrincipalCache, UnitsOfWork
from app.services.throttle import LoginThrottle

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AuthService:
    """Gives out tokens and takes them back."""

    database: UnitsOfWork
    hasher: PasswordHasher
    tokens: AccessTokens
    principals: PrincipalCache
    throttle: LoginThrottle
    settings: AuthSettings

    async def log_in(self, login: str, password: str, scope: str, client: Client) -> TokenPair:
        """Return a pair of tokens for a user name and password.

        No connection is held while the password is checked, so logins don't starve the rest.

        Args:
            login: The user name or the e-mail address.
            password: As typed.
            scope: The permissions wanted, separated by spaces; empty for all that the role has.
            client: Where the login comes from.

        Raises:
            InvalidCredentials: There is no such account, it is not active, or the password is
                wrong. All take the same time.
            InvalidInput: A scope was asked for of which the account has nothing.
            TooManyLoginAttempts: Too many logins have failed.
            PasswordHashingBusy: Too many logins are waiting.
        """
        async with self.database.read() as connection:
            credentials = await UserReader(connection).credentials(normalized_email(login))
            # By id, so that its name and its address don't give two rounds of guesses.
            account = str(credentials.user_id) if credentials else normalized_email(login)
            await self.throttle.check(LoginThrottleReader(connection), account, client.ip_address)
        verification = await self.hasher.verify(
            password, credentials.password_hash if credentials else None
        )
        if credentials is None or not verification.matches or not credentials.is_active:
            await self.throttle.count_failure(self.database, account, client.ip_address)
            raise InvalidCredentials
        new_hash = await self.hasher.hash(password) if verification.outdated else None
        async with self.database.transaction() as session:
            users = UserRepository(session)
            if await users.are_current(credentials):
                if new_hash is not None:
                    await users.set_password_hash(credentials.user_id, new_hash)
                    session.after_commit(partial(self.principals.forget_user, credentials.user_id))
                counts = LoginThrottleRepository(session)
                await self.throttle.forgive(counts, account, client.ip_address)
                return await self._open_session(session, credentials, scope, client)
        # Changed or deleted while the password was checked: what was true then no longer counts.
        return await self.log_in(login, password, scope, client)

    async def refresh(self, refresh_token: str, client: Client) -> TokenPair:
        """Return a new pair of tokens for a refresh token, which is used up by that.

        Raises:
            InvalidRefreshToken: It is unknown, expired or revoked.
            RefreshTokenReused: It was used before; the whole session is ended.
        """
        now = utc_now()
        async with self.database.transaction() as session:
            token = await RefreshTokenRepository(session).find(digest(refresh_token))
            if token is not None and token.used_at is None and _is_alive(token.session):
                token.used_at = now
                token.session.last_used_at = now
                token.session.ip_address = client.ip_address
                token.session.user_agent = client.user_agent
                token.session.expires_at = now + self._session_life
                # What the role has lost is not promised again; what it lost and got back is.
                held = permissions_in(token.session.scope) & ROLES[token.session.user.role]
                return await self._issue(session, token.session, scope_of(held))
            if token is not None and token.used_at is not None:
                self._revoke(session, token.session)
        # Only now: raised inside, the error would roll the revocation back.
        if token is None or token.used_at is None:
            raise InvalidRefreshToken
        logger.warning("refresh token reused", session_id=str(token.session_id))
        raise RefreshTokenReused(session_id=str(token.session_id))

    async def log_out(self, refresh_token: str) -> None:
        """End the session of a refresh token; an unknown one is no error (RFC 7009 §2.2)."""
        async with self.database.transaction() as session:
            token = await RefreshTokenRepository(session).find(digest(refresh_token))
            if token is not None:
                self._revoke(session, token.session)

    async def sessions(self, user_id: UserId, page: PageRequest) -> Page[LoginSession]:
        """Return a page of a user's sessions, the latest first."""
        async with self.database.read() as connection:
            return await SessionReader(connection).page(user_id, utc_now(), page)

    async def end_session(self, user_id: UserId, session_id: SessionId) -> None:
        """End one session of a user.

        Raises:
            SessionNotFound: The user has none of this id.
        """
        async with self.database.transaction() as session:
            if not await SessionRepository(session).revoke(user_id, session_id, utc_now()):
                raise SessionNotFound
            self._forget(session, session_id)

    @property
    def _session_life(self) -> timedelta:
        return timedelta(days=self.settings.refresh_token_days)

    def _revoke(self, session: Session, login: AuthSession) -> None:
        login.revoked_at = login.revoked_at or utc_now()
        self._forget(session, SessionId(login.id))

    def _forget(self, session: Session, session_id: SessionId) -> None:
        session.after_commit(partial(self.principals.forget_sessions, (session_id,)))

    async def _open_session(
        self, session: Session, credentials: Credentials, scope: str, client: Client
    ) -> TokenPair:
        granted = ROLES[credentials.role]
        if scope.strip():
            granted &= permissions_in(scope)
            if not granted:
                message = "You have none of these permissions"
                raise InvalidInput(FieldError("body.scope", message, "invalid_scope"))
        login = AuthSession(
            id=new_id(),
            user_id=credentials.user_id,
            scope=scope_of(granted),
            user_agent=client.user_agent,
            ip_address=client.ip_address,
            expires_at=utc_now() + self._session_life,
        )
        await SessionRepository(session).add(login)
        return await self._issue(session, login, login.scope)

    async def _issue(self, session: Session, login: AuthSession, scope: str) -> TokenPair:
        secret = new_refresh_token()
        token = RefreshToken(session_id=login.id, token_hash=digest(secret))
        await RefreshTokenRepository(session).add(token)
        user_id, session_id = UserId(login.user_id), SessionId(login.id)
        return TokenPair(
            access_token=self.tokens.issue(user_id, session_id, scope),
            refresh_token=secret,
            expires_in=self.tokens.life_seconds,
            scope=scope,
        )


def _is_alive(login: AuthSession) -> bool:
    return login.revoked_at is None and login.expires_at > utc_now() and login.user.is_active
