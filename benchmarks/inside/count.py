"""Count the instructions of one request of each operation, under Callgrind.

The application is called as a server would call it, in this process and without a socket of its
own; its database is the real one. Callgrind writes a profile of each operation and names it.
Without Callgrind it runs the operations and counts nothing.
"""

import argparse
import asyncio
import gc
import importlib
import json
import os
import subprocess
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, cast

import uvloop

Message = MutableMapping[str, Any]
App = Callable[..., Awaitable[None]]

WARM_UP = 60


class Layered(Protocol):
    """An application of Starlette's, as far as its middleware is concerned."""

    user_middleware: list[Any]
    middleware_stack: object

    def __call__(self, *arguments: object) -> Awaitable[None]:
        """Answer a request."""


class Request:
    """One request, to be sent many times."""

    def __init__(
        self, method: str, path: str, *, status: int, token: str = "", body: bytes = b""
    ) -> None:
        """Put together what is sent, and say which status is expected."""
        self.method = method
        self.path, _, query = path.partition("?")
        self.query = query.encode()
        self.status = status
        self.body = body
        self.headers = [
            (b"host", b"127.0.0.1"),
            (b"user-agent", b"benchmarks"),
            (b"accept", b"*/*"),
        ]
        if token:
            self.headers.append((b"authorization", f"Bearer {token}".encode()))
        if body:
            self.headers.append((b"content-type", b"application/json"))
            self.headers.append((b"content-length", str(len(body)).encode()))

    async def send(self, app: App) -> None:
        """Send it once.

        Raises:
            SystemExit: The answer has another status than it should have.
        """
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query,
            "root_path": "",
            "headers": list(self.headers),
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50_000),
            "state": {},
            "extensions": {},
        }
        unread = [{"type": "http.request", "body": self.body, "more_body": False}]
        sent: list[Message] = []

        async def receive() -> Message:
            return unread.pop() if unread else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await app(scope, receive, send)
        if sent[0]["status"] != self.status:
            raise SystemExit(f"{self.method} {self.path}: {sent[0]}, {sent[1:]}")


def operations(facts: dict[str, Any]) -> dict[str, Request]:
    """Return the requests by the name of their operation.

    Args:
        facts: What stands in the database.
    """
    token = facts["ada_token"]
    new = json.dumps({"title": "Bernoulli number", "description": "Note G"}).encode()
    return {
        "health": Request("GET", "/health", status=200),
        "me": Request("GET", "/api/v1/users/me", status=200, token=token),
        "list": Request("GET", "/api/v1/items?limit=20", status=200, token=token),
        "item": Request("GET", f"/api/v1/items/{facts['ada_item']}", status=200, token=token),
        "create": Request("POST", "/api/v1/items", status=201, token=token, body=new),
    }


def tell_callgrind(*command: str) -> None:
    """Send a command to the Callgrind that runs this process, if one does."""
    if "BENCHMARKS_CALLGRIND" in os.environ:
        subprocess.run(
            ["vgdb", f"--pid={os.getpid()}", *command],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


async def count(app: App, requests: dict[str, Request], times: int) -> None:
    """Have Callgrind write a profile of each request, sent a number of times."""
    for name, request in requests.items():
        for _ in range(WARM_UP):
            await request.send(app)
        # Garbage of one operation is not to be collected at the expense of another.
        gc.collect()
        gc.disable()
        tell_callgrind("zero")
        for _ in range(times):
            await request.send(app)
        tell_callgrind("dump", name)
        gc.enable()


async def count_layers(app: Layered, requests: dict[str, Request], times: int) -> None:
    """Count each request as it is, then without one layer of middleware after the other.

    A profile is named `<operation>__<layer>` by the layer that is left out.
    """
    await count(app, requests, times)
    layers = list(app.user_middleware)
    for left_out in layers:
        app.user_middleware = [layer for layer in layers if layer is not left_out]
        app.middleware_stack = None  # it is put together again at the next request
        named = {f"{name}__{left_out.cls.__name__}": each for name, each in requests.items()}
        await count(app, named, times)
    app.user_middleware, app.middleware_stack = layers, None


async def with_lifespan(
    app: App, requests: dict[str, Request], times: int, *, layers: bool
) -> None:
    """Start the application, count, and stop it.

    Raises:
        SystemExit: It does not start.
    """
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    state: dict[str, Any] = {}
    lifespan = asyncio.ensure_future(
        app({"type": "lifespan", "asgi": {}, "state": state}, to_app.get, from_app.put)
    )
    await to_app.put({"type": "lifespan.startup"})
    started = await from_app.get()
    if started["type"] != "lifespan.startup.complete":
        raise SystemExit(f"The application does not start: {started}")
    tell_callgrind("instrumentation", "on")
    if layers:
        await count_layers(cast("Layered", app), requests, times)
    else:
        await count(app, requests, times)
    tell_callgrind("instrumentation", "off")
    await to_app.put({"type": "lifespan.shutdown"})
    await from_app.get()
    await lifespan


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("app", help="such as `app.asgi:app`")
    parser.add_argument("facts", type=json.loads, help="what stands in the database, as JSON")
    parser.add_argument("--times", type=int, default=100, help="requests of each operation")
    parser.add_argument("--only", nargs="*", help="these operations alone")
    parser.add_argument("--layers", action="store_true", help="also without each middleware")
    given = parser.parse_args()
    module, _, name = given.app.partition(":")
    app = getattr(importlib.import_module(module), name)
    requests = {
        name: request
        for name, request in operations(given.facts).items()
        if not given.only or name in given.only
    }
    uvloop.run(with_lifespan(app, requests, given.times, layers=given.layers))


if __name__ == "__main__":
    main()
