# file: src/app/api/v1/users.py
class ViolationResponse(UserResponse):
    """Break a rule."""

    password_hash: str


@router.get("/violation/here", status_code=200)
async def violate() -> ViolationResponse:
    """Break a rule."""
    raise NotImplementedError
