# file: src/app/services/violation.py
import asyncio


async def work() -> None:
    """Break a rule."""
    asyncio.create_task(asyncio.sleep(1))  # caught
