# file: src/app/api/v1/users.py
from app.api.deps.common import SessionDep

Work = SessionDep


@router.get("/violation/here", status_code=200)
async def violate(work: Work) -> None:
    """Break a rule."""
