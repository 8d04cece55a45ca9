"""`Idempotency-Key`: a request that is sent twice is carried out once.

See draft-ietf-httpapi-idempotency-key-header. The key is claimed before the request's session is
opened; what the request is answered is kept as it leaves, when its transaction is committed.
"""

import hashlib
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Header
from starlette.requests import Request

from app.api.context import request_context
from app.api.deps.resources import ResourcesDep
from app.api.errors import AnsweredBefore, raises
from app.domain.idempotency import (
    Answer,
    IdempotencyKey,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
)

_HASHED: Final = "application/json"

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
            "says that the service has failed is not, and the request may be tried again."
        ),
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]


@raises(IdempotencyKeyInUse, IdempotencyKeyReused, IdempotencyUnavailable)
async def claim_idempotency_key(
    request: Request, resources: ResourcesDep, key: IdempotencyKeyHeader = None
) -> None:
    """Claim the key of a request, if it has one; stands on the resources.

    A route takes it after the parameter that says who is asking, whose key it is, and before the
    service that opens a session.

    Raises:
        AnsweredBefore: The request was answered before; the handler sends that answer.
        IdempotencyKeyInUse: The first request of this key is under way.
        IdempotencyKeyReused: The key came with another request before.
        IdempotencyUnavailable: What keeps the keys does not answer.
    """
    if key is None:
        return
    context = request_context(request.scope)
    if context.user_id is None:
        raise RuntimeError("The route must take who is asking before the idempotency key.")
    path = request.scope["path"]
    name = IdempotencyKey(UUID(context.user_id), f"{request.method} {path}", key)
    claimed = await resources.state.idempotency.claim(name, await _fingerprint(request))
    if isinstance(claimed, Answer):
        raise AnsweredBefore(claimed)
    context.claim = claimed


IdempotencyDep = Annotated[None, Depends(claim_idempotency_key)]


async def _fingerprint(request: Request) -> str:
    """What a request asks for: JSON byte by byte, for which the framework has read the body.

    Of other bodies, which may be large and are read by their route, length and type alone count.
    """
    headers = request.headers
    kind, length = headers.get("content-type", ""), headers.get("content-length", "")
    is_json = kind.partition(";")[0].strip().lower() == _HASHED
    body = await request.body() if is_json else f"{kind}\n{length}".encode()
    return hashlib.sha256(request.scope["query_string"] + b"\n" + body).hexdigest()
