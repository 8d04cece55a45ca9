"""Start what a generated project stands on, migrate and fill its database, and wait.

Prints one line of JSON, `{"environment": …, "sources": …, "facts": …}`, when all of it answers, and
ends everything when its standard input is closed. To be run in the directory of the project.
"""

import argparse
import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import jwt
from app.config import load_settings
from app.core.ids import new_id
from app.core.security.keys import SigningKeys
from app.domain.permissions import ROLES, scope_of
from app.infrastructure.database import migrations
from app.models import AuthSession, Item, User
from argon2 import PasswordHasher
from dev_servers import backing_services

from benchmarks.inside.address import dsn

PASSWORD = "Analytical1Engine"  # noqa: S105 - of people who do not exist
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_DESCRIPTION = "Note G, with a table and diagrams of the engine's operations in their order. "


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="where the servers keep their data")
    parser.add_argument("--items", type=int, default=1_000, help="rows of the user with few")
    parser.add_argument("--export", type=int, default=0, help="rows of the user with many")
    given = parser.parse_args()
    keys = SigningKeys.generate()
    os.environ["APP_AUTH__SIGNING_KEYS"] = keys.to_json()
    before = set(os.environ)
    with backing_services(load_settings(), given.directory) as servers:
        settings = load_settings()
        url = settings.database.url.get_secret_value()
        migrations.upgrade(url)
        facts = asyncio.run(_fill(dsn(), keys, given.items, given.export))
        environment = {name: os.environ[name] for name in os.environ if name not in before}
        environment["APP_AUTH__SIGNING_KEYS"] = os.environ["APP_AUTH__SIGNING_KEYS"]
        sources = [server.source for server in servers]
        print(json.dumps({"environment": environment, "sources": sources, "facts": facts}))
        sys.stdout.flush()
        sys.stdin.read()


async def _fill(address: str, keys: SigningKeys, few: int, many: int) -> dict[str, object]:
    """Write two users, one with few items and one with many, and log both in.

    Both servers that are compared forget alike: a commit does not wait for the disk.
    """
    connection = await asyncpg.connect(address)
    try:
        await connection.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = off")
        facts: dict[str, object] = {"password": PASSWORD, "few": few, "many": many}
        for name, count in (("ada", few), ("grace", many)):
            user_id = await _user(connection, name)
            facts[f"{name}_token"] = await _token(connection, keys, user_id)
            facts[f"{name}_id"] = str(user_id)
            facts[f"{name}_item"] = await add_items(connection, user_id, count)
        await connection.execute("VACUUM ANALYZE")
        return facts
    finally:
        await connection.close()


async def _user(connection: "asyncpg.Connection[asyncpg.Record]", name: str) -> UUID:
    user_id = new_id()
    row = {
        "id": user_id,
        "email": f"{name}@example.com",
        "username": name,
        "full_name": f"{name.title()} of the Benchmarks",
        "password_hash": PasswordHasher(2, 19_456, 1).hash(PASSWORD),
        "role": "user",
        "is_active": True,
        "created_at": _FIRST,
        "updated_at": _FIRST,
    }
    await _insert(connection, User.__tablename__, row)
    return user_id


async def _token(
    connection: "asyncpg.Connection[asyncpg.Record]", keys: SigningKeys, user_id: UUID
) -> str:
    """Log a user in for a day, which is longer than a login in earnest: runs may take hours."""
    auth = load_settings().auth
    session_id, now = new_id(), datetime.now(UTC)
    scope = scope_of(ROLES["user"])
    row = {
        "id": session_id,
        "user_id": user_id,
        "scope": scope,
        "user_agent": "benchmarks",
        "ip_address": "127.0.0.1",
        "created_at": now,
        "last_used_at": now,
        "expires_at": now + timedelta(days=1),
    }
    await _insert(connection, AuthSession.__tablename__, row)
    claims = {
        "iss": auth.issuer,
        "aud": auth.audience,
        "sub": str(user_id),
        "sid": str(session_id),
        "scope": scope,
        "jti": str(new_id()),
        "iat": now,
        "nbf": now,
        "exp": now + timedelta(days=1),
    }
    headers = {"kid": keys.signing.kid, "typ": "at+jwt"}
    return jwt.encode(claims, keys.signing.private, "ES256", headers=headers)


async def _insert(
    connection: "asyncpg.Connection[asyncpg.Record]", table: str, row: dict[str, object]
) -> None:
    await connection.copy_records_to_table(table, records=[tuple(row.values())], columns=list(row))


async def add_items(
    connection: "asyncpg.Connection[asyncpg.Record]", owner_id: UUID, count: int, first: int = 0
) -> str:
    """Write items of an owner, a second apart, and return the id of the last one."""
    columns = (
        *("id", "owner_id", "title", "description", "status", "version"),
        *("created_at", "updated_at"),
    )
    item_id = new_id()
    records = []
    for number in range(first, first + count):
        item_id = new_id()
        moment = _FIRST + timedelta(seconds=number)
        title = f"Bernoulli number {number}"
        records.append((item_id, owner_id, title, _DESCRIPTION, "active", 1, moment, moment))
    await connection.copy_records_to_table(
        Item.__tablename__, records=records, columns=list(columns)
    )
    return str(item_id)


if __name__ == "__main__":
    main()
