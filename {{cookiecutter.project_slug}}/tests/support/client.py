"""Starlette's client for tests, with one call into the application's thread for each request."""

from typing import Any

import httpx2
from starlette.testclient import TestClient
from starlette.types import ASGIApp

ADDRESS = ("testclient", 50000)
"""Where the application sees requests come from, as from Starlette's own."""


class Client(TestClient):
    """A `TestClient` that asks once and gets the whole answer.

    Starlette's own calls into the other thread eight times, so that a test can read an answer while
    it is sent, and those calls take longer than most requests. A test for which that matters takes
    an asynchronous client.
    """

    def __init__(self, app: ASGIApp, base_url: str = "http://testserver", **options: Any) -> None:
        super().__init__(app, base_url, client=ADDRESS, **options)
        self._transport = _OneCall(self, self._transport)


class _OneCall(httpx2.BaseTransport):
    """Sends HTTP by one call; whatever else there is, and without a thread, as Starlette does."""

    def __init__(self, client: TestClient, otherwise: httpx2.BaseTransport) -> None:
        self._client = client
        self._otherwise = otherwise
        self._application = httpx2.ASGITransport(client.app, client=ADDRESS)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        portal = self._client.portal
        if portal is None or request.url.scheme not in {"http", "https"}:
            return self._otherwise.handle_request(request)
        request.read()
        return portal.call(self._answer, request)

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._application.handle_async_request(request)
        content = b"".join([part async for part in answer.aiter_raw()])
        return httpx2.Response(
            answer.status_code, headers=answer.headers.raw, stream=httpx2.ByteStream(content)
        )

    def close(self) -> None:
        self._otherwise.close()
