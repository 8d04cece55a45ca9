# file: src/app/api/v1/users.py
from fastapi import Depends, Query

marked = Depends


@router.get("/violation/here", status_code=200)
async def violate(limit: int = Query(10), session: object = Depends(print)) -> None:  # caught
    """Break a rule."""


async def helper(session: object = marked(print)) -> None:  # caught
    """Break a rule."""
