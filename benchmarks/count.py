"""Count the instructions of one request of each operation, under Callgrind.

Calls the application in this process, without a socket of its own; its database is the real one.
Callgrind writes a profile of each operation under its name. Without Callgrind, the operations run
and nothing is counted.
"""

import argparse
import asyncio
import gc
import importlib
import json
import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import uvloop

Message = MutableMapping[str, Any]
App = Callable[..., Awaitable[None]]
Request = Callable[[App], Awaitable[None]]

WARM_UP = 100


def request(method: str, target: str, token: str, body: bytes) -> Request:
    """Return a function that sends a request once."""
    path, _, query = target.partition("?")
    headers = [(b"host", b"127.0.0.1"), (b"user-agent", b"benchmarks"), (b"accept", b"*/*")]
    if token:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    if body:
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", str(len(body)).encode()))

    async def send_to(app: App) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": list(headers),
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50_000),
            "extensions": {},
        }
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Message] = []

        async def receive() -> Message:
            return unread.pop() if unread else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await app(scope, receive, send)
        if sent[0]["status"] >= 400:
            raise SystemExit(f"{method} {target}: {sent}")

    return send_to


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


async def count(app: App, operations: Mapping[str, list[Request]], times: int) -> None:
    """Have Callgrind write a profile of each operation, sent a number of times."""
    for name, requests in operations.items():
        for send in islice(cycle(requests), WARM_UP):
            await send(app)
        # Garbage of one operation is not to be collected at the expense of another.
        gc.collect()
        gc.disable()
        tell_callgrind("zero")
        for send in islice(cycle(requests), times):
            await send(app)
        tell_callgrind("dump", name)
        gc.enable()


async def run(
    app: Any,  # noqa: ANN401 - of Starlette, which is not here
    operations: Mapping[str, list[Request]],
    times: int,
    *,
    layers: bool,
) -> None:
    """Start the application, count, and stop it.

    With `layers`, count each operation once more without one layer of middleware after the other;
    its profile is named `<operation>__<layer>`.
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

    async def serve(scope: Message, *channels: object) -> None:
        await app({**scope, "state": state.copy()}, *channels)

    tell_callgrind("instrumentation", "on")
    await count(serve, operations, times)
    stack = list(app.user_middleware) if layers else []
    for left_out in stack:
        app.user_middleware = [layer for layer in stack if layer is not left_out]
        app.middleware_stack = None  # rebuilt at the next request
        named = {f"{name}__{left_out.cls.__name__}": each for name, each in operations.items()}
        await count(serve, named, times)
    tell_callgrind("instrumentation", "off")
    await to_app.put({"type": "lifespan.shutdown"})
    await from_app.get()
    await lifespan


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("app", help="such as `app.asgi:app`")
    parser.add_argument("loads", type=Path, help="JSON: method, body, targets by operation")
    parser.add_argument("--times", type=int, default=100, help="requests of each operation")
    parser.add_argument("--layers", action="store_true", help="also without each middleware")
    given = parser.parse_args()
    module, _, name = given.app.partition(":")
    app = getattr(importlib.import_module(module), name)
    loads = json.loads(given.loads.read_text(encoding="utf-8"))
    operations = {
        name: [
            request(load["method"], path, token, load["body"].encode())
            for path, token in load["targets"]
        ]
        for name, load in loads.items()
    }
    uvloop.run(run(app, operations, given.times, layers=given.layers))


if __name__ == "__main__":
    main()
