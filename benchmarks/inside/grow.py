"""Let a user have as many items as said, and print the cursor of the one in the middle."""

import asyncio
import sys
from uuid import UUID

import asyncpg
from app.core.pages import Cursor

from benchmarks.inside.address import dsn
from benchmarks.inside.backing import add_items

_BATCH = 50_000


async def main(owner_id: UUID, count: int) -> None:
    """Run the command line."""
    connection = await asyncpg.connect(dsn())
    try:
        there = await connection.fetchval(
            "SELECT count(*) FROM items WHERE owner_id = $1", owner_id
        )
        for first in range(there, count, _BATCH):
            await add_items(connection, owner_id, min(_BATCH, count - first), first)
        await connection.execute("VACUUM ANALYZE items")
        middle = await connection.fetchrow(
            "SELECT id, created_at FROM items WHERE owner_id = $1"
            " ORDER BY created_at, id OFFSET $2 LIMIT 1",
            owner_id,
            count // 2,
        )
    finally:
        await connection.close()
    print(Cursor("-created_at", middle["created_at"], middle["id"]).encode())


if __name__ == "__main__":
    asyncio.run(main(UUID(sys.argv[1]), int(sys.argv[2])))
