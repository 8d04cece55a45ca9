"""Accounts: one's own, and those of others for administrators."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Request, Response

from app.api.deps.auth import (
    AccountOwner,
    AdminUser,
    ClientDep,
    CurrentUser,
    ProfileEditor,
    UserViewer,
)
from app.api.deps.pages import UserListDep
from app.api.deps.rate_limits import (
    AuthRateLimitedByAddress,
    RateLimiterDep,
    limit_password_change,
)
from app.api.deps.services import UserQueriesDep, UserServiceDep
from app.api.schemas.users import (
    PasswordUpdate,
    ProfileUpdate,
    UserCreate,
    UserPage,
    UserResponse,
    UserUpdate,
)
from app.core.errors import PasswordHashingBusy
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
from app.infrastructure.http.responses import created, location_of
from app.infrastructure.http.routing import FeatureRouter
from app.infrastructure.http.schemas import EXAMPLE_ID

router = FeatureRouter(prefix="/users", tags=["users"])

TAG = {
    "name": "users",
    "description": "Accounts: one's own, and all of them for administrators.",
}
UserIdPath = Annotated[UUID, Path(description="Which user.", examples=[EXAMPLE_ID])]


@router.post(
    "",
    status_code=201,
    summary="Register",
    responses=problems(EmailTaken, UsernameTaken, PasswordHashingBusy) | created("/api/v1/users"),
    dependencies=[AuthRateLimitedByAddress],
)
async def register_user(
    request: Request, body: UserCreate, users: UserServiceDep, response: Response
) -> UserResponse:
    """Create an account. It can log in at once."""
    user = await users.register(
        email=body.email,
        username=body.username,
        password=body.password.get_secret_value(),
        full_name=body.full_name,
    )
    response.headers["Location"] = location_of(request, user.id)
    return UserResponse.model_validate(user)


@router.get("", status_code=200, summary="List users")
async def list_users(_: UserViewer, query: UserListDep, users: UserQueriesDep) -> UserPage:
    """List all users, page by page."""
    page = await users.page(query.wanted(), query.sort, query.page())
    return UserPage.model_validate(page)


@router.get("/me", status_code=200, summary="Read your profile")
async def get_profile(user: CurrentUser) -> UserResponse:
    """Return who you are."""
    return UserResponse.model_validate(user.user)


@router.patch(
    "/me",
    status_code=200,
    summary="Change your profile",
    responses=problems(UserNotFound, EmailTaken),
)
async def change_profile(
    editor: ProfileEditor, body: ProfileUpdate, users: UserServiceDep
) -> UserResponse:
    """Change what is shown of you. What you leave out stays as it is."""
    return UserResponse.model_validate(await users.change_profile(editor.id, body.changes()))


@router.delete(
    "/me",
    status_code=204,
    summary="Delete your account",
    responses=problems(UserNotFound, LastAdministrator),
)
async def delete_account(owner: AccountOwner, users: UserServiceDep) -> None:
    """Delete your account with everything that is yours, at once and for good."""
    await users.delete(owner.id)


@router.put(
    "/me/password",
    status_code=204,
    summary="Change your password",
    responses=problems(WrongPassword, TooManyLoginAttempts, PasswordHashingBusy),
    dependencies=[AuthRateLimitedByAddress],
)
async def change_password(
    request: Request,
    owner: AccountOwner,
    body: PasswordUpdate,
    client: ClientDep,
    limiter: RateLimiterDep,
    users: UserServiceDep,
) -> None:
    """Change your password. All your other sessions are ended."""
    await limit_password_change(request, limiter, owner.id)
    current = body.current_password.get_secret_value()
    new = body.new_password.get_secret_value()
    await users.change_password(owner, current, new, client)


@router.get("/{user_id}", status_code=200, summary="Read a user", responses=problems(UserNotFound))
async def get_user(_: UserViewer, user_id: UserIdPath, users: UserQueriesDep) -> UserResponse:
    """Return any user."""
    return UserResponse.model_validate(await users.one(UserId(user_id)))


@router.patch(
    "/{user_id}",
    status_code=200,
    summary="Change a user",
    responses=problems(UserNotFound, LastAdministrator),
)
async def administer_user(
    _: AdminUser, user_id: UserIdPath, body: UserUpdate, users: UserServiceDep
) -> UserResponse:
    """Change what a user may do, or keep it out. What you leave out stays as it is."""
    return UserResponse.model_validate(await users.administer(UserId(user_id), body.changes()))


@router.delete(
    "/{user_id}",
    status_code=204,
    summary="Delete a user",
    responses=problems(UserNotFound, LastAdministrator),
)
async def delete_user(_: AdminUser, user_id: UserIdPath, users: UserServiceDep) -> None:
    """Delete a user with everything that is the user's, at once and for good."""
    await users.delete(UserId(user_id))
