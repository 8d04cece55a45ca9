"""What it takes to count a request, by how many clients are being counted. Prints JSON."""

import asyncio
import json
import sys
import time

from app.core.config import RateLimitSettings
from app.infrastructure.rate_limits import RateLimiter

HITS = 5_000


async def main() -> None:
    """Count requests of many clients, and then of one of them."""
    points = []
    for keys in json.loads(sys.argv[1]):
        limiter = RateLimiter(RateLimitSettings(general_address="1000000000/minute"))
        for number in range(keys):
            await limiter.hit("general-address", f"192.0.2.{number}")
        started = time.process_time()
        for _ in range(HITS):
            await limiter.hit("general-address", "192.0.2.0")
        points.append((keys, (time.process_time() - started) / HITS * 1e6))
    print(json.dumps(points))


asyncio.run(main())
