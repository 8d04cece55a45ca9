"""The client of the tests: what it sees is what Starlette's own sees."""

import asyncio
import gzip
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.testclient import TestClient

from tests.support.client import Client


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
    yield {"made": "at the start"}


app = FastAPI(lifespan=lifespan)


@app.api_route("/echo/{rest:path}", methods=["GET", "HEAD", "POST"])
async def echo(request: Request) -> dict[str, object]:
    return {
        "method": request.method,
        "url": str(request.url),
        "client": request.client,
        "state": getattr(request.state, "made", None),
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


@app.get("/endless")
async def endless() -> None:
    await asyncio.Event().wait()


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

    def test_leaves_nobody_at_work_when_it_is_interrupted(self, client: TestClient) -> None:
        def interrupt(signum: int, frame: object) -> None:
            raise Interrupted

        def ask() -> None:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            client.get("/endless")

        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            with pytest.raises(Interrupted):
                ask()
        finally:
            signal.signal(signal.SIGALRM, before)
        # The fixture leaves the application, which waits for what is at work.

    def test_works_without_a_thread_of_its_own(self) -> None:
        assert Client(app).get("/echo/once").json()["client"] == ["testclient", 50000]


class Interrupted(Exception):
    """As by Ctrl-C, but for this test alone."""
