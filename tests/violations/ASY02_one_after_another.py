# file: src/app/services/violation.py
import asyncio
from asyncio import gather as together


async def one(numbers: list[int]) -> list[int]:
    """Break a rule."""
    found = [await two(number) for number in numbers]  # caught
    for number in numbers:  # caught
        found.append(await two(number))
    return found + await together(*(two(number) for number in numbers))  # caught


async def two(number: int) -> int:  # caught
    """Break a rule."""
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(1))
    return number
