"""Authentication: bearer tokens, logins, and rotating refresh tokens (RFC 9700 §4.14.2).

These services open their own transactions: a counted failure or a revoked session must survive the
error response.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, cast

import structlog

from app.core.clock import utc_now
from app.core.config import AuthSettings
from app.core.errors import (
    DatabaseUnavailable,
    FieldError,
    InvalidInput,
    InvalidToken,
    PasswordHashingBusy,
)
from app.core.pages import Page, PageRequest
from app.core.security.passwords import PasswordHasher
from app.core.security.secrets import (
    API_KEY_PREFIX,
    digest,
    is_device_token,
    new_device_token,
    new_refresh_token,
)
from app.core.security.tokens import AccessTokens
from app.domain.auth import (
    AccessToken,
    Client,
    InvalidCredentials,
    InvalidRefreshToken,
    LoginSession,
    Principal,
    RefreshTokenReused,
    SessionId,
    SessionNotFound,
    TokenPair,
)
from app.domain.permissions import DELEGABLE, ROLES, Role, permissions_in, scope_of
from app.domain.users import Credentials, UserId, WrongPassword, normalized_email
from app.infrastructure.database import Database, Session
from app.infrastructure.throttle import Attempt, Throttle
from app.repositories.api_keys import ApiKeyRepository
from app.repositories.sessions import SessionRepository
from app.repositories.users import UserRepository

_LAST_USE_PRECISION: Final = timedelta(minutes=1)
_LOGIN_ATTEMPTS: Final = 3

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Authenticates requests; changed roles and revocations apply from the next request on."""

    database: Database
    tokens: AccessTokens

    async def authenticate(self, bearer: str) -> Principal:
        """Return the principal of an access token or an API key.

        Raises:
            InvalidToken: The token or key is not valid, or its user is not active.
        """
        if bearer.startswith(API_KEY_PREFIX):
            return await self._by_api_key(digest(bearer))
        claims = self.tokens.verify(bearer)
        async with self.database.read() as connection:
            user = await SessionRepository(connection).holder(
                claims.user_id, claims.session_id, utc_now()
            )
        if user is None:
            raise InvalidToken("The session has ended.")
        permissions = ROLES[user.role] & claims.scope
        return Principal(
            user,
            permissions,
            session_id=SessionId(claims.session_id),
            authenticated_at=claims.authenticated_at,
        )

    async def _by_api_key(self, key_hash: str) -> Principal:
        now = utc_now()
        async with self.database.read() as connection:
            holder = await ApiKeyRepository(connection).holder(key_hash, now)
        if holder is None:
            raise InvalidToken("The API key is not valid.")
        if holder.last_used_at is None or now - holder.last_used_at >= _LAST_USE_PRECISION:
            try:
                async with self.database.transaction() as session:
                    await ApiKeyRepository(session).touch(holder.key_id, now)
            except DatabaseUnavailable as error:
                # A database that is full, locked or read-only can still be read.
                logger.warning("api key use not recorded", **error.context)
        permissions = permissions_in(holder.scope) & ROLES[holder.user.role] & DELEGABLE
        return Principal(holder.user, permissions, api_key_id=holder.key_id)


@dataclass(frozen=True, slots=True)
class PasswordVerifier:
    """Verifies the passwords of users who are logged in.

    Failures are counted per session, so that a stolen one does not keep the owner from changing
    the password.
    """

    database: Database
    hasher: PasswordHasher
    throttle: Throttle

    async def verify(
        self, principal: Principal, password: str, client: Client
    ) -> tuple[Credentials, Attempt]:
        """Verify a password; no connection is held meanwhile.

        Raises:
            WrongPassword: It is wrong.
            TooManyLoginAttempts: It was wrong too often.
            PasswordHashingBusy: Too many passwords are waiting to be hashed.
        """
        async with self.database.read() as connection:
            account, session_id = str(principal.id), str(principal.session_id)
            address = client.ip_address
            attempt = await self.throttle.begin(connection, account, address, session_id)
            credentials = await UserRepository(connection).credentials_of(principal.id)
        verified = await self.hasher.verify(
            password, credentials.password_hash if credentials else None, known=True
        )
        if credentials is None or not verified.matches:
            async with self.database.transaction() as session:
                await self.throttle.fail(session, attempt)
            raise WrongPassword
        return credentials, attempt

    async def confirm(self, session: Session, credentials: Credentials, attempt: Attempt) -> None:
        """Lock verified credentials and clear the failures.

        Raises:
            WrongPassword: The credentials have changed in the meantime.
            TooManyLoginAttempts: Others failed in the meantime.
        """
        if not await UserRepository(session).are_current(credentials):
            raise WrongPassword
        await self.throttle.check(session, attempt.limits)
        await self.throttle.clear(session, attempt)


@dataclass(frozen=True, slots=True)
class AuthService:
    """Issues and revokes tokens.

    Attributes:
        throttle: Limits failed logins.
        verifier: Verifies passwords for step-up.
    """

    database: Database
    hasher: PasswordHasher
    tokens: AccessTokens
    throttle: Throttle
    verifier: PasswordVerifier
    settings: AuthSettings
    session_quota: int

    async def log_in(
        self, login: str, password: str, scope: str, client: Client, device_token: str | None
    ) -> TokenPair:
        """Return a pair of tokens for a user name or e-mail address and a password.

        An empty scope asks for all permissions of the role. A device token of an earlier login
        makes the device known.

        Raises:
            InvalidCredentials: The account is unknown or inactive, or the password is wrong. All
                of these take the same time.
            InvalidInput: The account has none of the requested permissions.
            TooManyLoginAttempts: Too many logins have failed.
            PasswordHashingBusy: Too many logins are waiting.
        """
        name = normalized_email(login)
        # Try again if the account changed meanwhile.
        for _ in range(_LOGIN_ATTEMPTS):
            pair = await self._try_log_in(name, password, scope, client, device_token)
            if pair is not None:
                return pair
        raise PasswordHashingBusy

    async def refresh(self, refresh_token: str, client: Client) -> TokenPair:
        """Exchange a refresh token, which is single-use, for a new pair of tokens.

        Raises:
            InvalidRefreshToken: The token is unknown, expired or revoked.
            RefreshTokenReused: The token was used before; its session is revoked.
        """
        now = utc_now()
        async with self.database.transaction() as session:
            sessions = SessionRepository(session)
            token = await sessions.find_token(digest(refresh_token))
            if token is None:
                raise InvalidRefreshToken
            login, user = token.session, token.session.user
            if token.used_at is None:
                ends_at = self._session_end(login.created_at, now)
                has_ended = min(login.expires_at, ends_at) <= now
                if login.revoked_at is not None or has_ended or not user.is_active:
                    raise InvalidRefreshToken
                token.used_at = login.last_used_at = now
                login.ip_address = client.ip_address
                login.user_agent = client.user_agent
                login.expires_at = ends_at
                # The session keeps its scope, so a permission that the role regains applies again.
                granted = permissions_in(login.scope) & ROLES[user.role]
                return await self._issue(
                    sessions,
                    UserId(user.id),
                    SessionId(login.id),
                    scope_of(granted),
                    login.created_at,
                )
            login.revoked_at = login.revoked_at or now
        # After the commit: raised inside, the error would roll the revocation back.
        logger.warning("refresh token reused", session_id=str(login.id))
        raise RefreshTokenReused(session_id=str(login.id))

    async def step_up(self, principal: Principal, password: str, client: Client) -> AccessToken:
        """Return an access token of a session whose user has entered the password again.

        Tokens refreshed later keep the time of the login (RFC 9068 §2.2.1): a stolen refresh token
        gains nothing.

        Raises:
            WrongPassword: The password is wrong.
            TooManyLoginAttempts: It was wrong too often.
            PasswordHashingBusy: Too many passwords are waiting to be hashed.
        """
        credentials, attempt = await self.verifier.verify(principal, password, client)
        async with self.database.transaction() as session:
            await self.verifier.confirm(session, credentials, attempt)
        # API keys, which have no session, may not manage the account.
        session_id = cast("SessionId", principal.session_id)
        scope = scope_of(principal.permissions)
        token = self.tokens.issue(principal.id, session_id, scope, utc_now())
        return AccessToken(token, self.tokens.life_seconds, scope)

    async def log_out(self, refresh_token: str) -> None:
        """Revoke the session of a refresh token; an unknown one is no error (RFC 7009 §2.2)."""
        async with self.database.transaction() as session:
            token = await SessionRepository(session).find_token(digest(refresh_token))
            if token is not None:
                token.session.revoked_at = token.session.revoked_at or utc_now()

    async def sessions(self, user_id: UserId, request: PageRequest) -> Page[LoginSession]:
        """Return a page of a user's sessions, latest first."""
        async with self.database.read() as connection:
            return await SessionRepository(connection).list(user_id, utc_now(), request)

    async def end_session(self, user_id: UserId, session_id: SessionId) -> None:
        """Revoke a session of a user.

        Raises:
            SessionNotFound: The user has no such session.
        """
        async with self.database.transaction() as session:
            if not await SessionRepository(session).revoke(user_id, session_id, utc_now()):
                raise SessionNotFound

    def _session_end(self, created_at: datetime, now: datetime) -> datetime:
        """Return the end of a session that is used now."""
        return min(
            now + timedelta(days=self.settings.refresh_token_days),
            created_at + timedelta(days=self.settings.session_days),
        )

    async def _try_log_in(
        self, login: str, password: str, scope: str, client: Client, device_token: str | None
    ) -> TokenPair | None:
        """Log in; return `None` if the account changed while the password was verified.

        No connection is held meanwhile, so logins don't starve other requests.
        """
        async with self.database.read() as connection:
            credentials = await UserRepository(connection).credentials(login)
            # By ID: otherwise, username and address would have separate limits.
            account = str(credentials.user_id) if credentials else f"name:{login}"
            device = _known_device(device_token, credentials)
            attempt = await self.throttle.begin(connection, account, client.ip_address, device)
        known = device is not None or attempt.is_known
        verification = await self.hasher.verify(
            password, credentials.password_hash if credentials else None, known=known
        )
        if credentials is None or not verification.matches or not credentials.is_active:
            async with self.database.transaction() as session:
                await self.throttle.fail(session, attempt)
            raise InvalidCredentials
        new_hash = None
        if verification.outdated:
            new_hash = await self.hasher.hash(password, known=known)
        granted, now = _granted(credentials.role, scope), utc_now()
        async with self.database.transaction() as session:
            sessions = SessionRepository(session)
            session_id = await sessions.open(
                credentials,
                granted,
                client,
                now=now,
                expires_at=self._session_end(now, now),
                unless=self.throttle.exceeded(attempt),
            )
            if session_id is None:
                await self.throttle.check(session, attempt.limits)
                return None
            if new_hash is not None:
                await UserRepository(session).set_password_hash(credentials.user_id, new_hash)
            await sessions.revoke_beyond(credentials.user_id, self.session_quota, now)
            await self.throttle.clear(session, attempt)
            pair = await self._issue(sessions, credentials.user_id, session_id, granted, now)
            if device is None or new_hash is not None:
                password_hash = new_hash or credentials.password_hash
                device = new_device_token(credentials.user_id, password_hash)
            return replace(pair, device_token=device)

    async def _issue(
        self,
        sessions: SessionRepository,
        user_id: UserId,
        session_id: SessionId,
        scope: str,
        authenticated_at: datetime,
    ) -> TokenPair:
        secret = new_refresh_token()
        await sessions.add_token(session_id, digest(secret))
        return TokenPair(
            access_token=self.tokens.issue(user_id, session_id, scope, authenticated_at),
            refresh_token=secret,
            expires_in=self.tokens.life_seconds,
            scope=scope,
        )


def _known_device(token: str | None, credentials: Credentials | None) -> str | None:
    if token is None or credentials is None:
        return None
    known = is_device_token(token, credentials.user_id, credentials.password_hash)
    return token if known else None


def _granted(role: Role, requested: str) -> str:
    granted = ROLES[role]
    if requested.strip():
        granted &= permissions_in(requested)
        if not granted:
            raise InvalidInput(
                FieldError("body.scope", "You don't have any of these permissions", "invalid_scope")
            )
    return scope_of(granted)
