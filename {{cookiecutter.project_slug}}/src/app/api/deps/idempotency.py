"""`Idempotency-Key`: a request that is sent twice is carried out once.

See draft-ietf-httpapi-idempotency-key-header. The key is claimed before the session of the request
is opened, after the body was parsed as JSON and before it is validated: malformed JSON (400) leaves
the key unused; an invalid body (422) or media type (415) uses it up. Middleware stores responses.
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
            "Unique key for this request, such as a UUID. If you receive no response, repeat the "
            "same request with the same key: it is carried out once, and you get the original "
            "response with `Idempotency-Replayed: true`. Responses are stored for a day by "
            "default. Responses with a 5xx status are not stored: retry with the same key. Errors "
            "such as a 422 are stored: after correcting the request, use a new key. A request "
            "rejected before its key is checked does not use it up: a malformed, encoded or too "
            "large body, missing credentials or permissions, or an exceeded rate limit."
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
        raise RuntimeError("The route must authenticate the user before it claims the key.")
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
