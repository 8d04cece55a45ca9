"""`Idempotency-Key`: a request that is sent twice is carried out once.

See draft-ietf-httpapi-idempotency-key-header. The key is claimed in the transaction of the request,
and the route stores the response in it: a request that fails or is refused leaves the key unused.
"""

import hashlib
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Header
from starlette.requests import Request
from starlette.responses import Response

from app.api.deps.common import SessionDep, resources_of
from app.core.idempotency import (
    Answer,
    IdempotencyAnswerNotKept,
    IdempotencyKey,
    IdempotencyKeyInUse,
    IdempotencyKeyRepeated,
    IdempotencyKeyReused,
    TooManyIdempotencyKeys,
)
from app.infrastructure.http.context import request_context
from app.infrastructure.http.handlers import EarlyResponse
from app.infrastructure.http.problems import raises
from app.infrastructure.idempotency import IdempotencyKeys

_STORED: Final = ("content-type", "etag", "location")

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
            "default. Errors are not stored: correct the request or retry with the same key. A "
            "response over 64 KiB is not stored either: a retry gets a 409 with `Location`."
        ),
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]


@raises(
    IdempotencyAnswerNotKept,
    IdempotencyKeyInUse,
    IdempotencyKeyRepeated,
    IdempotencyKeyReused,
    TooManyIdempotencyKeys,
)
async def claim_idempotency_key(
    request: Request, session: SessionDep, key: IdempotencyKeyHeader = None
) -> None:
    """Claim the key of a request, if it has one.

    A route takes it after the principal, who owns the key, and before its service, whose effect
    must be in the transaction of the request. The route must not read the body itself.

    Raises:
        EarlyResponse: The stored response to an earlier request with the key.
    """
    if key is None:
        return
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise IdempotencyKeyRepeated
    context = request_context(request.scope)
    if context.user_id is None:
        raise RuntimeError("The route must authenticate the user before it claims the key.")
    operation = f"{request.method} {request.scope['path']}"
    name = IdempotencyKey(UUID(context.user_id), operation, key, await _fingerprint(request))
    keys = IdempotencyKeys(session, resources_of(request).settings.idempotency)
    answer = await keys.claim(name)
    if answer is not None:
        if answer.body is None:
            raise IdempotencyAnswerNotKept(answer.headers.get("location"))
        headers = {**answer.headers, "Idempotency-Replayed": "true"}
        raise EarlyResponse(Response(answer.body, answer.status, headers))

    async def keep(response: Response) -> None:
        headers = {each: response.headers[each] for each in _STORED if each in response.headers}
        # A stream has no body yet.
        body = getattr(response, "body", None)
        await keys.keep(name, Answer(response.status_code, headers, body))

    context.before_commit = keep


IdempotencyDep = Annotated[None, Depends(claim_idempotency_key)]


async def _fingerprint(request: Request) -> str:
    """Hash query, content type and body; the same body may mean something else in another type."""
    kind = request.headers.get("content-type", "").encode("latin-1")
    parts = (request.scope["query_string"], kind, await request.body())
    return hashlib.sha256(b"\n".join(parts)).hexdigest()
