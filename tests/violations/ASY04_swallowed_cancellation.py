# file: src/app/services/violation.py
import asyncio


async def work() -> None:
    """Break a rule."""
    try:
        await asyncio.sleep(1)
    except BaseException:  # caught
        return
