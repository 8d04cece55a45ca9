# file: src/app/api/deps/violation.py
from starlette.requests import HTTPConnection


async def get_host(connection: HTTPConnection):  # caught
    return connection.headers["host"]
