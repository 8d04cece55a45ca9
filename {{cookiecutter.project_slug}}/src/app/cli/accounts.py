"""`app create-admin`: the first account, which can assign roles to others."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.runtime import CommandFailed, runtime, with_resources

if TYPE_CHECKING:
    from app.domain.users import UserProfile
    from app.resources import Resources


def _prompted(text: str, *, hidden: bool = False) -> Any:  # noqa: ANN401 - as Typer has it
    """Return an option that is prompted for if it is omitted."""
    return typer.Option(
        prompt=True,
        hide_input=hidden,
        confirmation_prompt=hidden,
        default_factory=lambda: None,  # otherwise help calls the option required
        show_default=False,
        help=f"{text} Prompted for if omitted.",
    )


def create_admin(
    *,
    email: Annotated[str, _prompted("E-mail address.")],
    username: Annotated[str, _prompted("User name.")],
    password: Annotated[
        str, _prompted("Password; as an option, it stays in the shell's history.", hidden=True)
    ],
) -> None:
    """Create an administrator.

    Example: app create-admin --email ada@example.com --username ada
    """
    with runtime() as settings:
        admin = with_resources(
            settings, partial(register_admin, email=email, username=username, password=password)
        )
    typer.echo(f"Created the administrator {admin.username} <{admin.email}>.")


async def register_admin(
    resources: "Resources", *, email: str, username: str, password: str
) -> "UserProfile":
    """Create an administrator by the rules of every account."""
    from pydantic import ValidationError

    from app.api.deps.users import user_service
    from app.api.schemas.users import UserCreate
    from app.repositories.users import UserRepository

    try:
        new = UserCreate.model_validate(
            {"email": email, "username": username, "password": password}
        )
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, at['loc']))}: {at['msg']}" for at in error.errors())
        raise CommandFailed("; ".join(faults)) from None
    async with resources.database.transaction() as session:
        users = user_service(resources, UserRepository(session))
        return await users.register(new.fields(), password, role="admin")
