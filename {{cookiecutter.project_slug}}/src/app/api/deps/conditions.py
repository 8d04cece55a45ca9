"""Headers by which a client says which version of something it means (RFC 9110 §13.1)."""

from typing import Annotated

from fastapi import Header

from app.infrastructure.http.schemas import LINE

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1000,
        pattern=LINE,
        description="Do it only if it still has this `ETag`, against lost updates.",
        examples=['"1"'],
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        max_length=1000,
        pattern=LINE,
        description="Answer 304, without a body, if it still has this `ETag`.",
        examples=['"1"'],
    ),
]
