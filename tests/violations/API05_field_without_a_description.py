# file: src/app/api/v1/users.py
class Violation(ProfileUpdate):
    nothing: int = 0


@router.post("/violation/here", status_code=200)
async def violate(body: Violation) -> None:
    """Break a rule."""
