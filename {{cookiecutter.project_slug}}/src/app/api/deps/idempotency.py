"""`Idempotency-Key`: a request that is sent twice is carried out once.

See draft-ietf-httpapi-idempotency-key-header. The key is claimed before the session of the request
is opened, after the body was parsed as JSON and before it is validated: malformed JSON (400) leaves
the key unused; an invalid body (422) or media type (415) uses it up. Middleware stores the answer.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header
from starlette.requests import Request
from starlette.responses import Response

from app.api.deps.common import resources_of
from app.core.idempotency import (
    Answer,
    Claim,
    IdempotencyKey,
    IdempotencyKeyInUse,
    IdempotencyKeyRepeated,
    IdempotencyKeyReused,
    IdempotencyStore,
    IdempotencyUnavailable,
)
from app.infrastructure.http.context import request_context
from app.infrastructure.http.handlers import EarlyResponse
from app.infrastructure.http.problems import raises

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description=(
            "A name of your choice for this request, such as a UUID. If you don't get the answer, "
            "send the very same again: it is not carried out twice, and you get the first answer, "
            "with `Idempotency-Replayed: true`. Answers are kept for a day by default; one that "
            "says that the service has failed is not, and the request may be tried again. One that "
            "refuses the request, such as a 422 for its body, is kept: send what you have mended "
            "under a new key. Only what is refused before the key is looked at does not use it up: "
            "a body that is malformed, encoded or too large to be read, a request that lacks "
            "credentials or a permission, or comes too soon."
        ),
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]


@raises(IdempotencyKeyInUse, IdempotencyKeyRepeated, IdempotencyKeyReused, IdempotencyUnavailable)
async def claim_idempotency_key(request: Request, key: IdempotencyKeyHeader = None) -> None:
    """Claim the key of a request, if it has one.

    A route takes it after the principal, who owns the key, and before the service that opens a
    session. The route must not read the body itself.

    Raises:
        EarlyResponse: The request was answered before; this is that response.
    """
    if key is None:
        return
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise IdempotencyKeyRepeated
    context = request_context(request.scope)
    if context.user_id is None:
        raise RuntimeError("The route must take who is asking before the idempotency key.")
    path = request.scope["path"]
    idempotency = resources_of(request).idempotency
    name = IdempotencyKey(UUID(context.user_id), f"{request.method} {path}", key)
    claimed = await idempotency.claim(name, await _fingerprint(request))
    if isinstance(claimed, Answer):
        headers = {**dict(claimed.headers), "Idempotency-Replayed": "true"}
        raise EarlyResponse(Response(claimed.body, claimed.status, headers))
    context.claim = HeldKey(idempotency, claimed)


IdempotencyDep = Annotated[None, Depends(claim_idempotency_key)]


@dataclass(frozen=True, slots=True)
class HeldKey:
    """The key of a request, for the middleware that stores the response."""

    store: IdempotencyStore
    claim: Claim

    async def keep(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Store the response."""
        await self.store.keep(self.claim, Answer(status, tuple(headers), body))

    async def release(self) -> None:
        """Free the key."""
        await self.store.release(self.claim)


async def _fingerprint(request: Request) -> str:
    """Hash query, content type and body: by its type, the same body may mean something else."""
    kind = request.headers.get("content-type", "").encode("latin-1")
    parts = (request.scope["query_string"], kind, await request.body())
    return hashlib.sha256(b"\n".join(parts)).hexdigest()
