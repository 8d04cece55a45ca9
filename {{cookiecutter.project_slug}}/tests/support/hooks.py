"""What the plugins of this test suite may say."""

from typing import Any

import pytest


def pytest_app_settings(
    config: pytest.Config, database_url: str
) -> dict[str, dict[str, Any]] | None:
    """Return groups of settings that an application under test needs, as of a server of this run.

    Asked whenever settings are made. Those with the same database are of the same service, and
    share what processes of a service share.
    """
