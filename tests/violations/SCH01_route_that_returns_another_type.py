# file: src/app/api/v1/users.py
async def violate() -> UserResponse:
    """Break a rule."""
    return TAG  # caught
