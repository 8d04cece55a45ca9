# file: src/app/services/violation.py
from functools import cache
from weakref import WeakValueDictionary

import httpx2

_seen: dict[str, int] = {}  # caught: violation._seen
_known = WeakValueDictionary()  # caught: violation._known
_client = httpx2.AsyncClient()  # caught: violation._client


@cache
def doubled(number: int) -> int:  # caught: violation.doubled
    return 2 * number


class Service:
    _users: list[str] = []  # caught: Service._users
