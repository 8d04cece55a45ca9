# file: src/app/api/v1/users.py
@router.get(
    "/violation/here",
    status_code=204,
    summary="Violate",
    openapi_extra={"security": [{"AccessToken": ["users:read"]}]},
)
async def violate() -> None:
    """Break a rule."""
