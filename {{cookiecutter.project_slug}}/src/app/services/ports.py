"""What services need from the outside world; adapters in `app.infrastructure` give it."""

from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.auth import KeyHolder, SessionHolder, SessionId
from app.domain.idempotency import Answer, Claim, IdempotencyKey
from app.domain.users import UserId
from app.infrastructure.database.session import Session
from app.infrastructure.database.statements import Lookups


class UnitsOfWork(Lookups, Protocol):
    """Opens units of work, for what must not share the transaction of a request."""

    def transaction(self) -> AbstractAsyncContextManager[Session]:
        """Yield a session for writing: committed at the end, rolled back on any error."""

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Yield a connection for several reads, without a transaction around its statements."""

    def snapshot(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Yield a connection for a long read, which sees all rows as of one moment."""


class PrincipalCache(Protocol):
    """Remembers who stands behind tokens, which every request asks.

    Whoever changes what is remembered says so after the commit: `session.after_commit(...)`. From
    then on nobody gets what was before.
    """

    async def session(
        self,
        user_id: UserId,
        session_id: SessionId,
        load: Callable[[], Awaitable[SessionHolder | None]],
    ) -> SessionHolder | None:
        """Return who has logged in; None if nobody, or nobody any more.

        Args:
            user_id: Whose login it says it is.
            session_id: The login.
            load: Asks the database.
        """

    async def api_key(
        self, key_hash: str, load: Callable[[], Awaitable[KeyHolder | None]]
    ) -> KeyHolder | None:
        """Return who holds an API key, by its hash; None if nobody, or nobody any more."""

    async def forget_user(self, user_id: UserId) -> None:
        """Forget what is remembered of a user, who was changed or deleted."""

    async def forget_sessions(self, session_ids: Collection[SessionId]) -> None:
        """Forget logins, which have ended for good."""

    async def forget_api_key(self, key_hash: str) -> None:
        """Forget an API key, which was revoked for good."""


class IdempotencyStore(Protocol):
    """Knows which requests were sent before, and what they were answered."""

    async def claim(self, key: IdempotencyKey, fingerprint: str) -> Claim | Answer:
        """Return the right to carry out a request, or what it was answered before.

        A claim whose request never ends lapses after a while.

        Args:
            key: What the client has called the request.
            fingerprint: What it asks for, as a digest of at most 64 characters.

        Raises:
            IdempotencyKeyInUse: The first request of this key has not ended.
            IdempotencyKeyReused: The key came with another request before.
            IdempotencyUnavailable: The store does not answer.
        """

    async def keep(self, claim: Claim, answer: Answer) -> None:
        """Keep what the request of a claim was answered, once its effect is there for good."""

    async def release(self, claim: Claim) -> None:
        """Give the key free again: its request had no effect."""

    async def prune(self) -> int:
        """Delete what has expired; return how many keys that were."""
