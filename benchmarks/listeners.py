"""Clients of one channel: one of them sends a message, all of them receive it, over and over.

Prints a line when all are connected. For each number on standard input it sends that many messages,
each when all clients have the one before, and prints as JSON the seconds until the last client had
each. Exits when standard input is closed.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import uvloop
from websockets.asyncio.client import (
    ClientConnection,
    connect,
)
from websockets.frames import Opcode

_AT_ONCE = 20
_PATIENCE = 60
_SAID = b'"said"'


class Client(ClientConnection):
    """A client that counts messages as they arrive and drops them.

    Anything more, such as a queue, would be in the time until the last one has a message.
    """

    heard: Callable[[], None] | None = None

    def process_event(self, event: Any) -> None:  # noqa: ANN401 - a type of the library's inside
        """Count a message, and leave everything else to the library."""
        if self.heard is None or event.opcode is not Opcode.TEXT:
            super().process_event(event)
        elif _SAID in event.data:
            self.heard()


class Crowd:
    """Clients of the same channel."""

    def __init__(self) -> None:
        """Begin empty."""
        self.clients: list[Client] = []
        self._left = 0
        self._all_have_heard = asyncio.Event()

    def join(self, client: Client) -> None:
        """Count the messages of one more client."""
        client.heard = self._heard
        self.clients.append(client)

    async def say(self, text: str) -> float:
        """Send a message; return the seconds until all have it."""
        self._left = len(self.clients)
        self._all_have_heard.clear()
        started = time.perf_counter()
        await self.clients[0].send(json.dumps({"type": "say", "text": text}))
        async with asyncio.timeout(_PATIENCE):
            await self._all_have_heard.wait()
        return time.perf_counter() - started

    def _heard(self) -> None:
        self._left -= 1
        if not self._left:
            self._all_have_heard.set()


async def open_all(stack: AsyncExitStack, url: str, token: str, count: int) -> Crowd:
    """Connect, some at a time, and return the clients that were welcomed."""
    crowd, turn = Crowd(), asyncio.Semaphore(_AT_ONCE)
    headers = {"Authorization": f"Bearer {token}"}

    async def open_one() -> None:
        async with turn:
            client = await stack.enter_async_context(
                connect(
                    url,
                    create_connection=Client,
                    additional_headers=headers,
                    compression=None,
                    ping_interval=None,
                    max_queue=None,
                    proxy=None,
                )
            )
            await client.recv()
        crowd.join(client)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(open_one())
    return crowd


async def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the channel")
    parser.add_argument("token", help="of the account of all of them")
    parser.add_argument("clients", type=int, help="their number")
    given = parser.parse_args()
    async with AsyncExitStack() as stack:
        crowd = await open_all(stack, given.url, given.token, given.clients)
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            seconds = [await crowd.say(f"Bernoulli number {n}") for n in range(int(line))]
            print(json.dumps(seconds), flush=True)
        # One close after the other would take longer than all else.
        for client in crowd.clients:
            client.transport.abort()


if __name__ == "__main__":
    uvloop.run(main())
