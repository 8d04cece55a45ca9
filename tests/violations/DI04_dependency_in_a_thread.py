# file: src/app/api/v1/users.py
from fastapi import Depends


def get_nothing() -> None:
    """Break a rule."""


@router.get("/violation/here", status_code=200)
async def violate(nothing: Annotated[None, Depends(get_nothing)]) -> None:
    """Break a rule."""
