# file: tests/api/test_violation.py
from starlette.testclient import TestClient


async def test_blocks_its_loop(client: TestClient) -> None:  # caught
    assert client.get("/live").status_code == 200


def test_cannot_wait(async_client: object) -> None:  # caught
    assert async_client
