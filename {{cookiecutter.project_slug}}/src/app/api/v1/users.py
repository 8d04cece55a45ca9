"""Accounts."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Request, Response

from app.api.deps.auth import RecentOwner
from app.api.deps.common import AuthRateLimitedByAddress, ClientDep
from app.api.deps.users import (
    AdminUser,
    CurrentUser,
    ProfileEditor,
    UserListDep,
    UserQueriesDep,
    UserServiceDep,
    UserViewer,
)
from app.api.schemas.api_keys import ApiKeyResponse
from app.api.schemas.users import (
    PasswordUpdate,
    PasswordUpdateResponse,
    ProfileUpdate,
    UserCreate,
    UserPage,
    UserResponse,
    UserUpdate,
)
from app.core.errors import InsufficientUserAuthentication, PasswordHashingBusy
from app.domain.auth import TooManyLoginAttempts
from app.domain.users import (
    EmailTaken,
    LastAdministrator,
    UserId,
    UsernameTaken,
    UserNotFound,
    WrongPassword,
)
from app.infrastructure.http.problems import problems
from app.infrastructure.http.routes import OPEN, FeatureRouter, created, location_of
from app.infrastructure.http.schemas import EXAMPLE_ID

router = FeatureRouter(prefix="/users", tags=["users"])

TAG = {
    "name": "users",
    "description": "Your account and, for administrators, all accounts.",
}
UserIdPath = Annotated[UUID, Path(description="ID of the user.", examples=[EXAMPLE_ID])]


@router.post(
    "",
    status_code=201,
    summary="Register",
    responses=problems(EmailTaken, UsernameTaken, PasswordHashingBusy) | created("/api/v1/users"),
    dependencies=[AuthRateLimitedByAddress],
    openapi_extra=OPEN,
)
async def register_user(
    request: Request, body: UserCreate, users: UserServiceDep, response: Response
) -> UserResponse:
    """Create an account. It can log in immediately."""
    user = await users.register(body.fields(), body.password.get_secret_value())
    response.headers["Location"] = location_of(request, user.id)
    return UserResponse.model_validate(user)


@router.get("", status_code=200, summary="List users")
async def list_users(_: UserViewer, query: UserListDep, users: UserQueriesDep) -> UserPage:
    """List all users."""
    page = await users.list(query.to_filter(), query.sort, query.page())
    return UserPage.model_validate(page)


@router.get("/me", status_code=200, summary="Get your profile")
async def get_profile(user: CurrentUser) -> UserResponse:
    """Retrieve your profile."""
    return UserResponse.model_validate(user.user)


@router.patch(
    "/me",
    status_code=200,
    summary="Update your profile",
    responses=problems(UserNotFound, EmailTaken, InsufficientUserAuthentication),
    dependencies=[AuthRateLimitedByAddress],
)
async def change_profile(
    editor: ProfileEditor, body: ProfileUpdate, users: UserServiceDep
) -> UserResponse:
    """Update the given fields of your profile. A new e-mail address requires a recent login."""
    return UserResponse.model_validate(await users.update_profile(editor, body.fields()))


@router.delete(
    "/me",
    status_code=204,
    summary="Delete your account",
    responses=problems(UserNotFound, LastAdministrator),
)
async def delete_account(owner: RecentOwner, users: UserServiceDep) -> None:
    """Delete your account with all its data, permanently. Requires a recent login."""
    await users.delete(owner.id)


@router.put(
    "/me/password",
    status_code=200,
    summary="Change your password",
    responses=problems(WrongPassword, TooManyLoginAttempts, PasswordHashingBusy),
    dependencies=[AuthRateLimitedByAddress],
)
async def change_password(
    owner: RecentOwner,
    body: PasswordUpdate,
    client: ClientDep,
    users: UserServiceDep,
) -> PasswordUpdateResponse:
    """Change your password and end all your other sessions. Requires a recent login.

    API keys keep working unless you revoke them: the response lists those that are left.
    """
    current = body.current_password.get_secret_value()
    new = body.new_password.get_secret_value()
    keys = await users.change_password(
        owner, current, new, client, revoke_api_keys=body.revoke_api_keys
    )
    return PasswordUpdateResponse(api_keys=[ApiKeyResponse.model_validate(key) for key in keys])


@router.get("/{user_id}", status_code=200, summary="Get a user", responses=problems(UserNotFound))
async def get_user(_: UserViewer, user_id: UserIdPath, users: UserQueriesDep) -> UserResponse:
    """Retrieve a user."""
    return UserResponse.model_validate(await users.get(UserId(user_id)))


@router.patch(
    "/{user_id}",
    status_code=200,
    summary="Update a user",
    responses=problems(UserNotFound, LastAdministrator),
)
async def administer_user(
    _: AdminUser, user_id: UserIdPath, body: UserUpdate, users: UserServiceDep
) -> UserResponse:
    """Update a user's role, or activate or deactivate the account. Requires a recent login."""
    return UserResponse.model_validate(await users.update(UserId(user_id), body.fields()))


@router.delete(
    "/{user_id}",
    status_code=204,
    summary="Delete a user",
    responses=problems(UserNotFound, LastAdministrator),
)
async def delete_user(_: AdminUser, user_id: UserIdPath, users: UserServiceDep) -> None:
    """Delete a user with all their data, permanently. Requires a recent login."""
    await users.delete(UserId(user_id))
