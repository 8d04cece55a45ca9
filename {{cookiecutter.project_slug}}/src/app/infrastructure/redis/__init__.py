"""Redis: shared by all processes. The service tolerates outages."""

from app.infrastructure.redis.breaker import Breaker, RedisUnavailable
from app.infrastructure.redis.client import GuardedRedis, Script, open_redis

__all__ = ["Breaker", "GuardedRedis", "RedisUnavailable", "Script", "open_redis"]
