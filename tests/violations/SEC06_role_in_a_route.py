# file: src/app/api/v1/users.py
async def violate(user: CurrentUser) -> None:
    """Break a rule."""
    if user.user.role == "admin":  # caught
        return
    match user.user.role:  # caught
        case "admin":
            return
