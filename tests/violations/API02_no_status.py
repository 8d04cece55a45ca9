# file: src/app/api/v1/users.py
@router.get("/violation/here")
async def violate() -> None:
    """Break a rule."""
