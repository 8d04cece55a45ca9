"""User accounts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.core.clock import utc_now
from app.core.errors import FieldError, InvalidInput
from app.core.pages import Page, PageRequest
from app.core.ports import Jobs
from app.core.security.passwords import PasswordHasher
from app.core.security.tokens import AccessTokens
from app.domain.api_keys import ApiKey
from app.domain.auth import Client, Principal
from app.domain.notifications import SendMail
from app.domain.permissions import Role
from app.domain.users import (
    AccountCleanup,
    LastAdministrator,
    NewUser,
    ProfileFields,
    UserChanges,
    UserFilter,
    UserId,
    UserNotFound,
    UserProfile,
    UserSort,
    normalized_email,
)
from app.repositories.api_keys import ApiKeyRepository
from app.repositories.sessions import SessionRepository
from app.repositories.users import UserRepository
from app.services.auth import PasswordVerifier

_MAX_API_KEYS = 10_000  # maximum of the quota


async def register(
    users: UserRepository, hasher: PasswordHasher, new: NewUser, password: str, role: Role
) -> UserProfile:
    """Create an account, for the API and for commands."""
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
        cleanups: Jobs to enqueue after the deletion of an account.
    """

    users: UserRepository
    sessions: SessionRepository
    api_keys: ApiKeyRepository
    hasher: PasswordHasher
    verifier: PasswordVerifier
    tokens: AccessTokens
    jobs: Jobs
    cleanups: Iterable[type[AccountCleanup]]

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

    async def update_profile(self, principal: Principal, changes: ProfileFields) -> UserProfile:
        """Update a user's own profile; notify the old and the new e-mail address.

        Raises:
            UserNotFound: The account was deleted in the meantime.
            EmailTaken: Another account has the address.
            InsufficientUserAuthentication: A new address requires a recent login.
        """
        user = await self.users.lock(principal.id)
        if user is None:
            raise UserNotFound
        email_before = user.email
        changes["email"] = normalized_email(changes.get("email", email_before))
        if changes["email"] != email_before:
            self.tokens.require_recent(principal.authenticated_at)
            for address in (email_before, changes["email"]):
                await self.jobs.enqueue(SendMail("email_changed", principal.id, to=address))
        return await self.users.update(user, changes)

    async def change_password(
        self,
        principal: Principal,
        current: str,
        new: str,
        client: Client,
        *,
        revoke_api_keys: bool,
    ) -> Sequence[ApiKey]:
        """Change a user's password, revoke their other sessions, and return their API keys.

        Raises:
            InvalidInput: The new password is weak.
            WrongPassword: The current password is wrong.
            TooManyLoginAttempts: It was wrong too often.
            PasswordHashingBusy: Too many passwords are waiting to be hashed.
        """
        user = principal.user
        _require_strong(self.hasher, "new_password", new, user.username, user.email)
        credentials, attempt = await self.verifier.verify(principal, current, client)
        new_hash = await self.hasher.hash(new, known=True)
        await self.verifier.confirm(self.users.session, credentials, attempt)
        await self.users.set_password_hash(principal.id, new_hash)
        await self.sessions.revoke_all(principal.id, utc_now(), but=principal.session_id)
        if revoke_api_keys:
            await self.api_keys.revoke_all(principal.id)
        await self.jobs.enqueue(SendMail("password_changed", principal.id))
        return (await self.api_keys.list(principal.id, PageRequest(_MAX_API_KEYS))).items

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
        await self.jobs.enqueue(SendMail("account_deleted", user_id, to=user.email))
        for cleanup in self.cleanups:
            await self.jobs.enqueue(cleanup(user_id))

    async def _require_another_administrator(self, user_id: UserId) -> None:
        if await self.users.lock_administrators() == [user_id]:
            raise LastAdministrator
