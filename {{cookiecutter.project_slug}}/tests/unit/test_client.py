"""The client of the tests: what it sees is what Starlette's own sees."""

import gzip
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.testclient import TestClient

from tests.support.client import Client

app = FastAPI()


@app.api_route("/echo/{rest:path}", methods=["GET", "HEAD", "POST"])
async def echo(request: Request) -> dict[str, object]:
    return {
        "method": request.method,
        "url": str(request.url),
        "client": request.client,
        "headers": request.headers.items(),
        "body": (await request.body()).decode(),
    }


@app.get("/parts")
async def parts() -> Response:
    async def compressed() -> AsyncIterator[bytes]:
        body = gzip.compress(b"one two")
        for part in (body[:9], body[9:]):
            yield part

    headers = {"Content-Encoding": "gzip", "Set-Cookie": "seen=yes"}
    return StreamingResponse(compressed(), headers=headers)


@app.get("/error")
async def error() -> None:
    raise LookupError("nobody foresaw it")


@pytest.fixture(params=[TestClient, Client])
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    with request.param(app) as client:
        yield client


class TestOneCall:
    @pytest.mark.parametrize(
        ("method", "path", "options"),
        [
            ("GET", "/echo/a%2Fb?q=a%20b&q=%C3%A9", {}),
            ("HEAD", "/echo/nothing", {}),
            ("POST", "/echo/json", {"json": {"a": "é"}}),
            ("POST", "/echo/form", {"data": {"a": "b"}}),
            ("POST", "/echo/bytes", {"content": b"one two"}),
            ("GET", "/nowhere", {}),
        ],
    )
    def test_sends_and_gets_what_starlettes_own_does(
        self, method: str, path: str, options: dict[str, Any]
    ) -> None:
        answers: list[httpx2.Response] = []
        for kind in (TestClient, Client):
            with kind(app) as client:
                answers.append(client.request(method, path, **options))
        starlettes, ours = answers
        assert (ours.status_code, ours.content) == (starlettes.status_code, starlettes.content)
        assert ours.headers.multi_items() == starlettes.headers.multi_items()

    def test_decodes_a_body_and_keeps_cookies(self, client: TestClient) -> None:
        assert client.get("/parts").text == "one two"
        assert client.cookies == {"seen": "yes"}

    def test_raises_what_the_application_raises(self, client: TestClient) -> None:
        with pytest.raises(LookupError, match="nobody foresaw it"):
            client.get("/error")

    def test_works_without_a_thread_of_its_own(self) -> None:
        assert Client(app).get("/echo/once").json()["client"] == ["testclient", 50000]
