# file: src/app/api/v1/users.py
from fastapi import Depends

Link = None
for _ in range(6):

    async def get_link(link: Link) -> None:
        """Break a rule."""

    Link = Annotated[None, Depends(get_link)]


@router.get("/violation/here", status_code=200)
async def violate(link: Link) -> None:
    """Break a rule."""
