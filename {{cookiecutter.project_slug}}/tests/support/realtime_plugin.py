"""Live events, as tests want them."""

from typing import Any


def pytest_app_settings() -> dict[str, dict[str, Any]]:
    """Leave those who are connected alone, but where a test is of that.

    The look whether they may stay comes from a task of its own, and a plain test has but one
    connection to the database: the two would meet there.
    """
    return {"realtime": {"recheck_seconds": 3600}}
