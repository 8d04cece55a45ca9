# file: src/app/api/v1/users.py
@router.get("/violation/here", status_code=200)
async def list_violations() -> list[UserResponse]:
    """Break a rule."""
    return []
