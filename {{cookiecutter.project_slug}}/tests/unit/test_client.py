"""The client of the tests: what it sees is what Starlette's own sees."""

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.testclient import TestClient

from tests.support.client import Client
from tests.support.waiting import PATIENCE


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


at_work = threading.Event()
left_work = threading.Event()


@app.get("/endless")
async def endless() -> None:
    at_work.set()
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 2 * PATIENCE)
    finally:
        left_work.set()


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

    def test_leaves_nobody_at_work_when_it_is_interrupted(self) -> None:
        with Client(app) as client:
            portal = client.portal
            assert portal is not None
            start = portal.start_task_soon

            def start_what_is_interrupted(*arguments: Any) -> Future[Any]:
                future = start(*arguments)
                # As by Ctrl-C, which comes while somebody waits for the answer.
                patch.setattr(future, "result", interrupt)
                return future

            def interrupt() -> None:
                at_work.wait(PATIENCE)
                raise Interrupted

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(portal, "start_task_soon", start_what_is_interrupted)
                with pytest.raises(Interrupted):
                    client.get("/endless")
            assert left_work.wait(PATIENCE)

    def test_works_without_a_thread_of_its_own(self) -> None:
        assert Client(app).get("/echo/once").json()["client"] == ["testclient", 50000]


class Interrupted(Exception):
    """What ends the wait for an answer."""
