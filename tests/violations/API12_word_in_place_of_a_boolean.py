# file: src/app/api/v1/users.py
@router.get("/violation/here", status_code=200, openapi_extra={"deprecated": "no"})
async def violate() -> None:
    """Break a rule."""
