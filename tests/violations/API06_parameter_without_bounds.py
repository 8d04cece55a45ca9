# file: src/app/api/v1/users.py
@router.get("/violation/here", status_code=200)
async def violate(number: int) -> None:
    """Break a rule."""
