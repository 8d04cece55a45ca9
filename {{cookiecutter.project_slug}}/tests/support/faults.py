"""Checks of responses while a dependency of the service is down."""

import httpx2

_KEYS = {"type", "title", "status", "detail", "instance", "code", "request_id"}


def assert_unavailable(response: httpx2.Response) -> None:
    """Check that a response reports an unavailable database and `Retry-After`, and nothing else."""
    assert response.status_code == 503, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert int(response.headers["Retry-After"]) >= 1
    problem = response.json()
    assert problem.keys() == _KEYS
    assert problem["code"] == "database_unavailable"
    assert problem["title"] == "Database unavailable"
    assert problem["detail"] == "Database unavailable."
