"""The unit of work that repositories share."""

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncSession

AfterCommit = Callable[[], Awaitable[None]]


class Session(AsyncSession):
    """A database session that knows what is to happen once its transaction is committed.

    Jobs, mails and events that are asked for inside a transaction wait here; a rollback drops
    them, so nobody hears of what never happened.
    """

    def after_commit(self, action: AfterCommit) -> None:
        """Run an action once the transaction is committed, in the order of asking."""
        self.info.setdefault("after_commit", []).append(action)

    def take_after_commit(self) -> list[AfterCommit]:
        """Return what is to run, and forget it."""
        actions: list[AfterCommit] = self.info.pop("after_commit", [])
        return actions
