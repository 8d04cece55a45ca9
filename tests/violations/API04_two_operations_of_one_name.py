# file: src/app/api/v1/users.py
@router.get("/violation/here", status_code=200, operation_id="list_users")
async def violate() -> None:
    """Break a rule."""
