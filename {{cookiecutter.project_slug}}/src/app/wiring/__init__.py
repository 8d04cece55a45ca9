"""The composition root: which repositories and adapters each service gets."""

from sqlalchemy.ext.asyncio import AsyncConnection

from app.infrastructure.database.session import Session
from app.infrastructure.database.statements import Lookups
from app.repositories.api_keys import ApiKeyReader, ApiKeyRepository
from app.repositories.items import ItemReader, ItemRepository
from app.repositories.users import UserReader
from app.resources import Resources
from app.services.api_keys import ApiKeyQueries, ApiKeyService
from app.services.auth import AuthService
from app.services.authentication import Authenticator
from app.services.items import ItemQueries, ItemService
from app.services.throttle import LoginThrottle
from app.services.users import UserQueries, UserService


def authenticator(resources: Resources) -> Authenticator:
    """Return what turns bearer tokens into principals."""
    return Authenticator(resources.database, resources.state.principals, resources.tokens)


def auth_service(resources: Resources) -> AuthService:
    """Return what logs in and out."""
    return AuthService(
        database=resources.database,
        hasher=resources.hasher,
        tokens=resources.tokens,
        principals=resources.state.principals,
        throttle=LoginThrottle(resources.settings.throttle),
        settings=resources.settings.auth,
    )


def user_queries(source: AsyncConnection | Lookups) -> UserQueries:
    """Return what reads users."""
    return UserQueries(UserReader(source))


def user_service(resources: Resources, session: Session) -> UserService:
    """Return what changes users, inside the transaction of a session."""
    return UserService(
        session=session,
        database=resources.database,
        hasher=resources.hasher,
        throttle=LoginThrottle(resources.settings.throttle, door="change"),
        principals=resources.state.principals,
        jobs=resources.jobs,
    )


def api_key_queries(source: AsyncConnection | Lookups) -> ApiKeyQueries:
    """Return what reads API keys."""
    return ApiKeyQueries(ApiKeyReader(source))


def api_key_service(resources: Resources, session: Session) -> ApiKeyService:
    """Return what makes and revokes API keys, inside the transaction of a session."""
    return ApiKeyService(ApiKeyRepository(session), session, resources.state.principals)


def item_queries(source: AsyncConnection | Lookups) -> ItemQueries:
    """Return what reads items."""
    return ItemQueries(ItemReader(source))


def item_service(resources: Resources, session: Session) -> ItemService:
    """Return what changes items, inside the transaction of a session."""
    return ItemService(ItemRepository(session), session, resources.events)
