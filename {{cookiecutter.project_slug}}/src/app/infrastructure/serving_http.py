"""Which protocols the server speaks beside HTTP: none."""

from typing import Any

from app.config import Settings


def protocols(settings: Settings) -> dict[str, Any]:
    """Return the options of uvicorn for them, the same in production and in development."""
    del settings
    return {"ws": "none"}
