"""What services need from the outside world; adapters in `app.infrastructure` give it."""

from typing import Protocol

from app.domain.idempotency import Answer, Claim, IdempotencyKey


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
