# file: src/app/api/v1/users.py
@router.post("/violation/here", status_code=201)
async def create_violation(body: UserUpdate) -> None:
    """Break a rule."""
