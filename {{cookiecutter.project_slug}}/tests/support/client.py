"""Starlette's client for tests, with one call into the application's thread for each request."""

from typing import Any

import httpx2
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

ADDRESS = ("testclient", 50000)
"""Where the application sees requests come from, as from Starlette's own."""


class Client(TestClient):
    """A `TestClient` that asks once and gets the whole answer.

    Starlette's own calls into the other thread eight times, and those calls take longer than most
    requests. A test that reads an answer while it is sent takes an application that is `served`.

    Args:
        app: The application, whose errors are raised.
        base_url: What relative addresses begin with.
        backend_options: Of the event loop, in anyio's words.
    """

    def __init__(
        self,
        app: ASGIApp,
        base_url: str = "http://testserver",
        backend_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(app, base_url, backend_options=backend_options, client=ADDRESS)
        self._transport = _OneCall(self, self._transport)


class _OneCall(httpx2.BaseTransport):
    """Sends HTTP by one call; whatever else there is, and without a thread, as Starlette does."""

    def __init__(self, client: TestClient, otherwise: httpx2.BaseTransport) -> None:
        self._client = client
        self._otherwise = otherwise
        self._application = httpx2.ASGITransport(self._with_state, client=ADDRESS)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        portal = self._client.portal
        if portal is None or request.url.scheme not in {"http", "https"}:
            return self._otherwise.handle_request(request)
        request.read()
        answer = portal.start_task_soon(self._answer, request)
        try:
            return answer.result()
        finally:
            # Whoever is interrupted, as by Ctrl-C, leaves nobody at work. What is done stays done.
            answer.cancel()

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._application.handle_async_request(request)
        content = b"".join([part async for part in answer.aiter_raw()])
        return httpx2.Response(
            answer.status_code, headers=answer.headers.raw, stream=httpx2.ByteStream(content)
        )

    async def _with_state(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give the application what its start has yielded, as servers do."""
        scope["state"] = self._client.app_state.copy()
        await self._client.app(scope, receive, send)

    def close(self) -> None:
        self._otherwise.close()
