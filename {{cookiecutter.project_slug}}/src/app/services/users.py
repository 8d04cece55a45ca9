"""Accounts: one's own, and those of others for administrators."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from app.core.clock import utc_now
from app.core.pages import Page, PageRequest
from app.core.ports import Jobs, Mail, SendMail
from app.core.security.passwords import PasswordHasher
from app.domain.auth import Client, Principal, SessionId
from app.domain.permissions import Role
from app.domain.users import (
    LastAdministrator,
    ProfileChanges,
    UserChanges,
    UserFilter,
    UserId,
    UserNotFound,
    UserProfile,
    UserSort,
    WrongPassword,
    normalized_email,
)
from app.infrastructure.database.session import Session
from app.models import User
from app.repositories.login_throttles import LoginThrottleReader, LoginThrottleRepository
from app.repositories.sessions import SessionRepository
from app.repositories.users import UserReader, UserRepository
from app.services.ports import PrincipalCache, UnitsOfWork
from app.services.throttle import LoginThrottle


@dataclass(frozen=True, slots=True)
class UserQueries:
    """Reads users."""

    users: UserReader

    async def page(
        self, wanted: UserFilter, sort: UserSort, page: PageRequest
    ) -> Page[UserProfile]:
        """Return a page of all users.

        Raises:
            InvalidInput: The cursor is not one of this list.
        """
        return await self.users.page(wanted, sort, page)

    async def one(self, user_id: UserId) -> UserProfile:
        """Return one user.

        Raises:
            UserNotFound: There is none of this id.
        """
        profile = await self.users.profile(user_id)
        if profile is None:
            raise UserNotFound
        return profile


@dataclass(frozen=True, slots=True)
class UserService:
    """Creates, changes and deletes users, inside the transaction of its session."""

    session: Session
    database: UnitsOfWork
    hasher: PasswordHasher
    throttle: LoginThrottle
    principals: PrincipalCache
    jobs: Jobs

    async def register(
        self,
        *,
        email: str,
        username: str,
        password: str,
        full_name: str | None = None,
        role: Role = "user",
    ) -> UserProfile:
        """Create an account.

        Raises:
            EmailTaken: Another account has the address.
            UsernameTaken: Another account has the name.
            PasswordHashingBusy: Too many passwords are waiting to be hashed.
        """
        password_hash = await self.hasher.hash(password)
        user = User(
            email=normalized_email(email),
            username=username,
            full_name=full_name,
            password_hash=password_hash,
            role=role,
        )
        return _profile(await self._users.add(user))

    async def change_profile(self, user_id: UserId, changes: ProfileChanges) -> UserProfile:
        """Change what a user says of itself; the address until now hears of a new one.

        Raises:
            UserNotFound: The account was deleted meanwhile.
            EmailTaken: Another account has the address.
        """
        user = await self._existing(user_id)
        email_before = user.email
        if changes.email is not None:
            user.email = normalized_email(changes.email)
        if changes.full_name is not None or changes.clears_full_name:
            user.full_name = changes.full_name
        if user.email != email_before:
            self._mail_after_commit(
                email_before,
                "Your e-mail address was changed",
                "If that was not you, ask for help at once: somebody else has your account.",
            )
        self._forget_after_commit(user_id)
        return _profile(await self._users.save(user))

    async def change_password(
        self, principal: Principal, current: str, new: str, client: Client
    ) -> None:
        """Change a user's password and end all its other sessions.

        No connection is held while passwords are hashed. A wrong current password counts like a
        failed login, and apart from those: a stolen token gives as few guesses as the form does.

        Raises:
            WrongPassword: The current password is wrong.
            TooManyLoginAttempts: It was wrong too often.
            PasswordHashingBusy: Too many passwords are waiting to be hashed.
        """
        account, address = str(principal.id), client.ip_address
        async with self.database.read() as connection:
            await self.throttle.check(LoginThrottleReader(connection), account, address)
            credentials = await UserReader(connection).credentials_of(principal.id)
        verification = await self.hasher.verify(
            current, credentials.password_hash if credentials else None
        )
        if credentials is None or not verification.matches:
            await self.throttle.count_failure(self.database, account, address)
            raise WrongPassword
        new_hash = await self.hasher.hash(new)
        if not await self._users.are_current(credentials):
            raise WrongPassword
        await self.throttle.forgive(LoginThrottleRepository(self.session), account, address)
        await self._users.set_password_hash(principal.id, new_hash)
        sessions = SessionRepository(self.session)
        ended = await sessions.revoke_all(principal.id, utc_now(), but=principal.session_id)
        self._forget_after_commit(principal.id, ended)
        self._mail_after_commit(
            principal.user.email,
            "Your password was changed",
            "If that was not you, ask for help at once: somebody else has your account.",
        )

    async def administer(self, user_id: UserId, changes: UserChanges) -> UserProfile:
        """Change another user's role, or let it in or keep it out.

        Raises:
            UserNotFound: There is none of this id.
            LastAdministrator: Nobody would be left to administer the service.
        """
        demotes = changes.role not in {None, "admin"} or changes.is_active is False
        if demotes:
            await self._keep_an_administrator(user_id)
        user = await self._existing(user_id)
        if changes.role is not None:
            user.role = changes.role
        if changes.is_active is not None:
            user.is_active = changes.is_active
        ended: list[SessionId] = []
        if not user.is_active:
            ended = await SessionRepository(self.session).revoke_all(user_id, utc_now())
        self._forget_after_commit(user_id, ended)
        return _profile(await self._users.save(user))

    async def delete(self, user_id: UserId) -> None:
        """Delete a user with everything that is the user's.

        Raises:
            UserNotFound: There is none of this id.
            LastAdministrator: Nobody would be left to administer the service.
        """
        await self._keep_an_administrator(user_id)
        await self._users.delete(await self._existing(user_id))
        self._forget_after_commit(user_id)

    @property
    def _users(self) -> UserRepository:
        return UserRepository(self.session)

    async def _existing(self, user_id: UserId) -> User:
        user = await self._users.get(user_id)
        if user is None:
            raise UserNotFound
        return user

    async def _keep_an_administrator(self, without: UserId) -> None:
        if await self._users.lock_administrators() == [without]:
            raise LastAdministrator

    def _forget_after_commit(self, user_id: UserId, ended: Collection[SessionId] = ()) -> None:
        """Let everybody see what has changed of a user, and that logins have ended."""
        self.session.after_commit(partial(self.principals.forget_user, user_id))
        if ended:
            self.session.after_commit(partial(self.principals.forget_sessions, ended))

    def _mail_after_commit(self, to: str, subject: str, text: str) -> None:
        job = SendMail(Mail(to=to, subject=subject, text=text))
        self.session.after_commit(partial(self.jobs.enqueue, job))


def _profile(user: User) -> UserProfile:
    return UserProfile(
        id=UserId(user.id),
        email=user.email,
        username=user.username,
        full_name=user.full_name,
        role=user.role,
        is_active=user.is_active,
        created_at=user.created_at,
        updated_at=user.updated_at,
    )
