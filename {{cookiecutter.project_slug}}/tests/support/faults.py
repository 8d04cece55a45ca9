"""What a client must be told when something that the service stands on fails."""

import httpx2

_KEYS = {"type", "title", "status", "detail", "instance", "code", "request_id"}


def assert_unavailable(response: httpx2.Response) -> None:
    """Check that an answer says that the database is away, when to come back, and nothing else."""
    assert response.status_code == 503, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert int(response.headers["Retry-After"]) >= 1
    problem = response.json()
    assert problem.keys() == _KEYS
    assert problem["code"] == "database_unavailable"
    assert problem["title"] == "Database unavailable"
    assert problem["detail"] == "Database unavailable."
