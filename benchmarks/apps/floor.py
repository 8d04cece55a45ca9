"""The floor: the service's operations on FastAPI and asyncpg, and nothing else.

No layers, limits, log or headers; the same queries, checks and bodies as the service. Plain, it
verifies an ES256 signature at each request and uses asyncpg's pool as it comes, which resets each
connection on its way back. With `FLOOR_SAME_MEANS` it has the service's means: verified tokens are
remembered, connections are not reset, and objects made at startup are exempt from garbage
collection.
"""

import csv
import gc
import io
import json
import os
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import jwt
from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from uuid_utils.compat import uuid7

ISSUER = "demo-service"
POOL = 32
REMEMBERED = 4096

ME = """
    SELECT users.id, email, username, full_name, role, is_active, users.created_at, updated_at
    FROM users JOIN auth_sessions ON auth_sessions.user_id = users.id
    WHERE users.id = $1 AND is_active AND auth_sessions.id = $2 AND revoked_at IS NULL
        AND expires_at > $3
"""
ITEM = """
    SELECT id, title, description, status, version, created_at, updated_at FROM items
    WHERE id = $1 AND owner_id = $2
"""
ITEMS = """
    SELECT id, title, description, status, version, created_at, updated_at FROM items
    WHERE owner_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2
"""
EXPORT = """
    SELECT id, title, description, status, version, created_at, updated_at FROM items
    WHERE owner_id = $1 ORDER BY created_at, id
"""
INSERT = """
    INSERT INTO items
        (id, owner_id, title, description, status, version, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, 1, $6, $6)
    RETURNING id, title, description, status, version, created_at, updated_at
"""


class Health(BaseModel):
    """Liveness."""

    status: str
    name: str
    version: str


class User(BaseModel):
    """A user."""

    id: UUID
    created_at: datetime
    updated_at: datetime
    email: str
    username: str
    full_name: str | None
    role: str
    is_active: bool


class Item(BaseModel):
    """An item."""

    id: UUID
    created_at: datetime
    updated_at: datetime
    title: str
    description: str
    status: str
    version: int


class Page(BaseModel):
    """A page of items."""

    items: list[Item]
    next_cursor: str | None


class NewItem(BaseModel):
    """A new item."""

    title: str
    description: str = ""
    status: str = "draft"


def verify(token: str) -> tuple[UUID, UUID, float]:
    """Return user, session and expiry of a token after checking its signature."""
    claims = jwt.decode(token, app.state.key, algorithms=["ES256"], issuer=ISSUER, audience=ISSUER)
    return UUID(claims["sub"]), UUID(claims["sid"]), claims["exp"]


async def keep_as_it_is(_: asyncpg.Connection) -> None:
    """Return a connection to the pool without a statement."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the pool and read the key, once."""
    options: dict[str, Any] = {"min_size": 1, "max_size": POOL}
    app.state.verify = verify
    if "FLOOR_SAME_MEANS" in os.environ:
        options["reset"] = keep_as_it_is
        app.state.verify = lru_cache(REMEMBERED)(verify)
    async with asyncpg.create_pool(os.environ["FLOOR_DATABASE"], **options) as pool:
        app.state.pool = pool
        jwks = json.loads(os.environ["APP_AUTH__SIGNING_KEYS"])
        app.state.key = jwt.PyJWK(jwks["keys"][0]).key.public_key()
        if "FLOOR_SAME_MEANS" in os.environ:
            gc.freeze()
        yield


app = FastAPI(lifespan=lifespan)
bearer = HTTPBearer()


async def current_user(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)],
) -> asyncpg.Record:
    """Return the row of the authenticated user."""
    try:
        user_id, session_id, expires_at = app.state.verify(credentials.credentials)
    except jwt.PyJWTError as error:
        raise HTTPException(401) from error
    if time.time() >= expires_at:
        raise HTTPException(401)
    user = await app.state.pool.fetchrow(ME, user_id, session_id, datetime.now(UTC))
    if user is None:
        raise HTTPException(401)
    return user


CurrentUser = Annotated[asyncpg.Record, Depends(current_user)]


@app.get("/health")
async def health() -> Health:
    """Answer."""
    return Health(status="ok", name="Demo Service", version="0.1.0")


@app.get("/api/v1/users/me")
async def me(user: CurrentUser) -> User:
    """Return the authenticated user."""
    return User(**user)


@app.get("/api/v1/items")
async def list_items(user: CurrentUser, limit: int = 20) -> Page:
    """Return the newest items."""
    rows = await app.state.pool.fetch(ITEMS, user["id"], limit + 1)
    items = [Item(**row) for row in rows[:limit]]
    if len(rows) <= limit:
        return Page(items=items, next_cursor=None)
    last = items[-1]
    values = ["-created_at", "t", last.created_at.isoformat(), last.id.hex]
    text = json.dumps(values, separators=(",", ":"))
    cursor = urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
    return Page(items=items, next_cursor=cursor)


@app.get("/api/v1/items/export")
async def export_items(user: CurrentUser) -> StreamingResponse:
    """Stream all items as CSV."""
    return StreamingResponse(_export(user["id"]), media_type="text/csv")


async def _export(owner_id: UUID) -> AsyncIterator[str]:
    yield "id,title,description,status,version,created_at,updated_at\r\n"
    async with (
        app.state.pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        cursor = await connection.cursor(EXPORT, owner_id)
        while rows := await cursor.fetch(500):
            text = io.StringIO(newline="")
            csv.writer(text).writerows(
                (*row[:5], row["created_at"].isoformat(), row["updated_at"].isoformat())
                for row in rows
            )
            yield text.getvalue()


@app.get("/api/v1/items/{item_id}")
async def get_item(user: CurrentUser, item_id: UUID, response: Response) -> Item:
    """Return one item."""
    row = await app.state.pool.fetchrow(ITEM, item_id, user["id"])
    if row is None:
        raise HTTPException(404)
    response.headers["ETag"] = f'"{row["version"]}"'
    return Item(**row)


@app.post("/api/v1/items", status_code=201)
async def create_item(user: CurrentUser, item: NewItem, response: Response) -> Item:
    """Insert an item."""
    row = await app.state.pool.fetchrow(
        INSERT,
        uuid7(),
        user["id"],
        item.title,
        item.description,
        item.status,
        datetime.now(UTC),
    )
    response.headers["Location"] = f"/api/v1/items/{row['id']}"
    response.headers["ETag"] = f'"{row["version"]}"'
    return Item(**row)
