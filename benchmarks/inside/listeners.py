"""Clients of one channel: one of them says something, all of them hear it, over and over.

Prints a line when all are connected. Then, for each number on its standard input, has so many
messages said, each when all have heard the one before, and prints one line of JSON: `{"seconds":
[…], "cpu": …}`, what each message took until the last client had it, and what all of them took of
the processors here. Leaves when its standard input is closed.
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
from websockets.asyncio.client import (  # type: ignore[import-not-found]
    ClientConnection,
    connect,
)
from websockets.frames import Opcode  # type: ignore[import-not-found]

_AT_ONCE = 20
_PATIENCE = 60
_SAID = b'"said"'


class Client(ClientConnection):
    """A client that counts what it hears as soon as it comes.

    Whatever it does more, such as keeping messages until somebody takes them, would be in the time
    until the last one has a message: it shares the machine with the server.
    """

    heard: Callable[[], None] | None = None

    def process_event(self, event: Any) -> None:  # noqa: ANN401 - a type of the library's inside
        """Count a message, and leave everything else to the library."""
        if self.heard is None or event.opcode is not Opcode.TEXT:
            super().process_event(event)
        elif _SAID in event.data:
            self.heard()


class Crowd:
    """Clients that hear the same."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self.clients: list[Client] = []
        self._left = 0
        self._all_have_heard = asyncio.Event()

    def join(self, client: Client) -> None:
        """Count what one more client hears."""
        client.heard = self._heard
        self.clients.append(client)

    async def say(self, text: str) -> float:
        """Have one of them say something, and return the seconds until all have heard it."""
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
    """Connect, some at a time, and return who is past their welcome."""
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
    parser.add_argument("token", help="of whoever all of them are")
    parser.add_argument("clients", type=int, help="how many they are")
    given = parser.parse_args()
    async with AsyncExitStack() as stack:
        crowd = await open_all(stack, given.url, given.token, given.clients)
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            before = time.process_time()
            seconds = [await crowd.say(f"Bernoulli number {n}") for n in range(int(line))]
            used = time.process_time() - before
            print(json.dumps({"seconds": seconds, "cpu": used}), flush=True)
        # One close after the other would take longer than all else.
        for client in crowd.clients:
            client.transport.abort()


if __name__ == "__main__":
    uvloop.run(main())
