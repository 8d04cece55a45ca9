"""Everything under `/api/v1`."""

from fastapi import APIRouter

from app.api.deps.rate_limits import RateLimitedByAddress
from app.api.v1 import api_keys, auth, items, users

router = APIRouter(prefix="/api/v1", dependencies=[RateLimitedByAddress])
router.include_router(auth.router)
router.include_router(api_keys.router)
router.include_router(users.router)
router.include_router(items.router)

TAGS: list[dict[str, str]] = [
    {"name": "auth", "description": "Logging in and out: tokens, and the sessions behind them."},
    {"name": "users", "description": "Accounts: one's own, and all of them for administrators."},
    {
        "name": "api keys",
        "description": "How machines come in: keys with permissions of their own.",
    },
    {"name": "items", "description": "The example resource: owned, paged, searched and exported."},
]
"""What the tags of these operations mean, in the order in which they are shown."""
