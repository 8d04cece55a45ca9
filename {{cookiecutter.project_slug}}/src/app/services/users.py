"""User accounts."""

from dataclasses import dataclass
from functools import partial

from app.core.clock import utc_now
from app.core.errors import FieldError, InvalidInput
from app.core.pages import Page, PageRequest
from app.core.ports import Jobs, Mail, SendMail
from app.core.security.passwords import PasswordHasher
from app.domain.auth import Client, Principal
from app.domain.permissions import Role
from app.domain.users import (
    LastAdministrator,
    NewUser,
    ProfileFields,
    UserChanges,
    UserFilter,
    UserId,
    UserNotFound,
    UserProfile,
    UserSort,
    WrongPassword,
    normalized_email,
)
from app.infrastructure.database import Database
from app.infrastructure.throttle import Throttle
from app.repositories.sessions import SessionRepository
from app.repositories.users import UserRepository


async def register(
    users: UserRepository, hasher: PasswordHasher, new: NewUser, password: str, role: Role
) -> UserProfile:
    """Create an account; needs only a database."""
    new["email"] = normalized_email(new["email"])
    _require_strong(hasher, "password", password, new["username"], new["email"])
    password_hash = await hasher.hash(password)
    return await users.create(**new, password_hash=password_hash, role=role)


def _require_strong(
    hasher: PasswordHasher, field: str, password: str, username: str, email: str
) -> None:
    name, _, host = email.partition("@")
    if faults := hasher.faults(password, username, name, host.partition(".")[0]):
        message = f"The password needs {', '.join(faults)}"
        raise InvalidInput(FieldError(f"body.{field}", message, "weak_password"))


@dataclass(frozen=True, slots=True)
class UserService:
    """Use cases of accounts.

    Attributes:
        database: For changes of passwords, which must hold no connection while they hash.
        throttle: Of wrong passwords when one is changed.
    """

    users: UserRepository
    sessions: SessionRepository
    database: Database
    hasher: PasswordHasher
    throttle: Throttle
    jobs: Jobs

    async def list(
        self, where: UserFilter, sort: UserSort, request: PageRequest
    ) -> Page[UserProfile]:
        """Return a page of all users."""
        return await self.users.list(where, sort, request)

    async def get(self, user_id: UserId) -> UserProfile:
        """Return a user.

        Raises:
            UserNotFound: No such user.
        """
        profile = await self.users.get(user_id)
        if profile is None:
            raise UserNotFound
        return profile

    async def register(self, new: NewUser, password: str, role: Role = "user") -> UserProfile:
        """Create an account.

        Raises:
            EmailTaken: Another account has the address.
            UsernameTaken: Another account has the name.
            InvalidInput: The password is weak.
            PasswordHashingBusy: Too many passwords are waiting to be hashed.
        """
        return await register(self.users, self.hasher, new, password, role)

    async def update_profile(self, user_id: UserId, changes: ProfileFields) -> UserProfile:
        """Update a user's own profile; notify the old address of a new one.

        Raises:
            UserNotFound: The account was deleted in the meantime.
            EmailTaken: Another account has the address.
        """
        user = await self.users.lock(user_id)
        if user is None:
            raise UserNotFound
        email_before = user.email
        if "email" in changes:
            changes["email"] = normalized_email(changes["email"])
        profile = await self.users.update(user, changes)
        if profile.email != email_before:
            self._mail_after_commit(
                email_before,
                "Your e-mail address was changed",
                "If that was not you, ask for help at once: somebody else has your account.",
            )
        return profile

    async def change_password(
        self, principal: Principal, current: str, new: str, client: Client
    ) -> None:
        """Change a user's password and revoke their other sessions.

        A wrong current password counts like a failed login, apart from those: a stolen token gives
        no more guesses than the login form.

        Raises:
            InvalidInput: The new password is weak.
            WrongPassword: The current password is wrong.
            TooManyLoginAttempts: It was wrong too often.
            PasswordHashingBusy: Too many passwords are waiting to be hashed.
        """
        user = principal.user
        _require_strong(self.hasher, "new_password", new, user.username, user.email)
        async with self.database.read() as connection:
            attempt = await self.throttle.begin(connection, str(principal.id), client.ip_address)
            credentials = await UserRepository(connection).credentials_of(principal.id)
        verification = await self.hasher.verify(
            current, credentials.password_hash if credentials else None
        )
        if credentials is None or not verification.matches:
            async with self.database.transaction() as session:
                await self.throttle.fail(session, attempt)
            raise WrongPassword
        new_hash = await self.hasher.hash(new)
        if not await self.users.are_current(credentials):
            raise WrongPassword
        await self.throttle.check(self.users.session, attempt.limits)
        await self.throttle.clear(self.users.session, attempt)
        await self.users.set_password_hash(principal.id, new_hash)
        await self.sessions.revoke_all(principal.id, utc_now(), but=principal.session_id)
        self._mail_after_commit(
            principal.user.email,
            "Your password was changed",
            "If that was not you, ask for help at once: somebody else has your account.",
        )

    async def update(self, user_id: UserId, changes: UserChanges) -> UserProfile:
        """Update a user's role, or activate or deactivate the account.

        Raises:
            UserNotFound: No such user.
            LastAdministrator: No other active administrator is left.
        """
        if changes.get("role", "admin") != "admin" or not changes.get("is_active", True):
            await self._require_another_administrator(user_id)
        user = await self.users.lock(user_id)
        if user is None:
            raise UserNotFound
        profile = await self.users.update(user, changes)
        if not profile.is_active:
            await self.sessions.revoke_all(user_id, utc_now())
        return profile

    async def delete(self, user_id: UserId) -> None:
        """Delete a user with everything they own.

        Raises:
            UserNotFound: No such user.
            LastAdministrator: No other active administrator is left.
        """
        await self._require_another_administrator(user_id)
        user = await self.users.lock(user_id)
        if user is None:
            raise UserNotFound
        await self.users.delete(user)

    async def _require_another_administrator(self, user_id: UserId) -> None:
        if await self.users.lock_administrators() == [user_id]:
            raise LastAdministrator

    def _mail_after_commit(self, to: str, subject: str, text: str) -> None:
        job = SendMail(Mail(to=to, subject=subject, text=text))
        self.users.after_commit(partial(self.jobs.enqueue, job))
