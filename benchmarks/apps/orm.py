"""The usual way: the service's operations on FastAPI and SQLAlchemy's ORM, as people write them."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import jwt
from argon2 import PasswordHasher
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from uuid_utils.compat import uuid7

ISSUER = "demo-service"
POOL = 32


class Base(DeclarativeBase):
    """The root of the tables."""

    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012 - SQLAlchemy's form


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


class User(Base):
    """A user."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    username: Mapped[str]
    full_name: Mapped[str | None]
    password_hash: Mapped[str]
    role: Mapped[str]
    is_active: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Login(Base):
    """A session."""

    __tablename__ = "auth_sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    revoked_at: Mapped[datetime | None]


class Item(Base):
    """An item."""

    __tablename__ = "items"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    description: Mapped[str]
    status: Mapped[str]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class UserOut(BaseModel):
    """A user."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    username: str
    full_name: str | None
    role: str
    is_active: bool
    created_at: datetime
    updated_at: datetime


class ItemOut(BaseModel):
    """An item."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    title: str
    description: str
    status: str
    version: int
    created_at: datetime
    updated_at: datetime


class NewItem(BaseModel):
    """A new item."""

    title: str
    description: str = ""
    status: str = "draft"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the engine and read the key, once."""
    url = os.environ["FLOOR_DATABASE"].replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(url, pool_size=POOL)
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    jwks = json.loads(os.environ["APP_AUTH__SIGNING_KEYS"])
    app.state.key = jwt.PyJWK(jwks["keys"][0]).key.public_key()
    app.state.hasher = PasswordHasher()
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
bearer = HTTPBearer()


async def get_session() -> AsyncIterator[AsyncSession]:
    """Yield the session of a request."""
    async with app.state.sessions() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]


async def current_user(
    session: SessionDep, credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]
) -> User:
    """Return the authenticated user."""
    try:
        claims = jwt.decode(
            credentials.credentials,
            app.state.key,
            algorithms=["ES256"],
            issuer=ISSUER,
            audience=ISSUER,
        )
    except jwt.PyJWTError as error:
        raise HTTPException(401) from error
    login = await session.get(Login, UUID(claims["sid"]))
    user = await session.get(User, UUID(claims["sub"]))
    if user is None or login is None or login.revoked_at is not None:
        raise HTTPException(401)
    return user


CurrentUser = Annotated[User, Depends(current_user)]


@app.get("/health")
async def health() -> dict[str, str]:
    """Answer."""
    return {"status": "ok", "name": "Demo Service", "version": "0.1.0"}


@app.get("/api/v1/users/me", response_model=UserOut)
async def me(user: CurrentUser) -> User:
    """Return the authenticated user."""
    return user


@app.get("/api/v1/items", response_model=list[ItemOut])
async def list_items(user: CurrentUser, session: SessionDep, limit: int = 20) -> list[Item]:
    """Return the newest items."""
    newest = (Item.created_at.desc(), Item.id.desc())
    wanted = select(Item).where(Item.owner_id == user.id).order_by(*newest).limit(limit)
    return list(await session.scalars(wanted))


@app.get("/api/v1/items/{item_id}", response_model=ItemOut)
async def get_item(user: CurrentUser, session: SessionDep, item_id: UUID) -> Item:
    """Return one item."""
    wanted = select(Item).where(Item.id == item_id, Item.owner_id == user.id)
    item = await session.scalar(wanted)
    if item is None:
        raise HTTPException(404)
    return item


@app.post("/api/v1/items", response_model=ItemOut, status_code=201)
async def create_item(user: CurrentUser, session: SessionDep, new: NewItem) -> Item:
    """Insert an item."""
    item = Item(owner_id=user.id, **new.model_dump())
    session.add(item)
    await session.commit()
    await session.refresh(item)
    return item
