"""Dependencies of the user routes: repositories, services, permissions."""

from typing import Annotated

from fastapi import Depends, Query, Security

from app.api.deps.auth import get_principal, get_recent_principal, password_verifier
from app.api.deps.common import ReadSessionDep, ResourcesDep, SessionDep
from app.api.schemas.users import UserListQuery
from app.domain.auth import Principal
from app.domain.users import AccountCleanup
from app.infrastructure.outbox import Outbox
from app.repositories.api_keys import ApiKeyRepository
from app.repositories.sessions import SessionRepository
from app.repositories.users import UserRepository
from app.resources import Resources
from app.services.users import UserService

CurrentUser = Annotated[Principal, Security(get_principal, scopes=["profile:read"])]
ProfileEditor = Annotated[Principal, Security(get_principal, scopes=["profile:write"])]
UserViewer = Annotated[Principal, Security(get_principal, scopes=["users:read"])]
AdminUser = Annotated[
    Principal, Security(get_recent_principal, scopes=["users:read", "users:write"])
]
UserListDep = Annotated[UserListQuery, Query()]


def user_service(resources: Resources, users: UserRepository) -> UserService:
    """Return the service on a repository."""
    return UserService(
        users=users,
        sessions=SessionRepository(users.session),
        api_keys=ApiKeyRepository(users.session),
        hasher=resources.hasher,
        verifier=password_verifier(resources),
        tokens=resources.tokens,
        jobs=Outbox(users.session, resources.relay.wake),
        cleanups=[kind for kind in resources.tasks if issubclass(kind, AccountCleanup)],
    )


async def get_user_repository(session: SessionDep) -> UserRepository:
    """Return the repository in the request's transaction."""
    return UserRepository(session)


async def get_user_reader(session: ReadSessionDep) -> UserRepository:
    """Return the repository for reading."""
    return UserRepository(session)


UserRepositoryDep = Annotated[UserRepository, Depends(get_user_repository)]
UserReaderDep = Annotated[UserRepository, Depends(get_user_reader)]


async def get_user_service(resources: ResourcesDep, users: UserRepositoryDep) -> UserService:
    """Return the service for writing."""
    return user_service(resources, users)


async def get_user_queries(resources: ResourcesDep, users: UserReaderDep) -> UserService:
    """Return the service for reading."""
    return user_service(resources, users)


UserServiceDep = Annotated[UserService, Depends(get_user_service)]
UserQueriesDep = Annotated[UserService, Depends(get_user_queries)]
