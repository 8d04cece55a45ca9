"""Settings of WebSockets for tests."""

from typing import Any


def pytest_app_settings() -> dict[str, dict[str, Any]]:
    """Turn rechecks off: they run in a task, and a plain test has one connection to share."""
    return {"realtime": {"recheck_seconds": 3600}}
