"""Targets, by the name of the figure in the report."""

from dataclasses import dataclass

OPERATIONS = {
    "health": "GET /health",
    "me": "GET /users/me",
    "list": "GET /items, 20 rows",
    "item": "GET /items/{id}",
    "create": "POST /items",
}
ONE_ACCOUNT = "GET /users/me, one token"
NEW_TOKENS = "GET /users/me, each request a new token"
START = "start to first answer"
START_CHECKED = "start by `app serve`, which checks settings and migrations"
MEMORY = "memory of all processes, idle"
TAIL = "GET /items: p99 at 100 connections"
LOGIN_STATEMENTS = "statements of a login"
HEADERS = "headers of a JSON answer"
HEADER_BYTES = "the same in bytes"
EXPORT = "GET /items/export, 100,000 rows"
EXPORT_GROWTH = "growth of memory meanwhile"
TAIL_OF_LOGINS = "GET /items: p99 while logins run"
UPLOAD = "upload of a large file"
DOWNLOAD = "download of a large file"
FILE_GROWTH = "growth of memory by both"
DELIVERY = "a message to many WebSockets: each delivery"
DELIVERED = "a message to many WebSockets: until all have it"


@dataclass(frozen=True, slots=True)
class Target:
    """A limit of a figure or of its ratio."""

    limit: float
    at_least: bool = False

    def allows(self, value: float) -> bool:
        """Return whether a value keeps to the limit."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


AS_CHEAP = Target(2.2, at_least=True)
"""The least cost of a well-known template that checks a token, beside the service's."""

TARGETS = {
    OPERATIONS["health"]: Target(1.6),
    OPERATIONS["me"]: Target(1.9),
    OPERATIONS["list"]: Target(2.1),
    OPERATIONS["item"]: Target(2.4),
    OPERATIONS["create"]: Target(3.0),
    START: Target(1.2),
    MEMORY: Target(1.2),
    TAIL: Target(1.3),
    LOGIN_STATEMENTS: Target(4),
    HEADERS: Target(10),
    EXPORT: Target(1.3),
    EXPORT_GROWTH: Target(16),
    TAIL_OF_LOGINS: Target(2.0),
    UPLOAD: Target(1.3),
    DOWNLOAD: Target(1.3),
    FILE_GROWTH: Target(64),
    DELIVERY: Target(1.3),
    DELIVERED: Target(1.3),
}

EXPLANATIONS = {
    TAIL: "after a second of warm-up at as many",
    MEMORY: "PSS of the master and one worker",
    EXPORT_GROWTH: "peak above what its processes had before",
    FILE_GROWTH: "peak above what its processes had before",
    HEADERS: "`GET /users/me`",
}
