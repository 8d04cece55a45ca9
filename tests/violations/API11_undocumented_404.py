# file: src/app/api/v1/users.py
@router.get("/{user_id}/violation", status_code=200)
async def violate(user_id: UserIdPath) -> None:
    """Break a rule."""
