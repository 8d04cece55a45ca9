# file: src/app/api/v1/users.py
@router.get("/violation/here", status_code=200)
async def violate() -> dict[str, str]:
    """Break a rule."""
    return {}
