"""`app create-admin`: the first account, which can give others their roles."""

from functools import partial
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from app.api.deps.users import user_service
from app.api.schemas.users import UserCreate
from app.cli.environment import surroundings, with_resources
from app.cli.output import CommandFailed
from app.domain.users import UserProfile
from app.repositories.users import UserRepository
from app.resources import Resources


def _asked(words: str, *, secretly: bool = False) -> Any:  # noqa: ANN401 - as Typer has it
    """An option that is asked for if it is left out."""
    return typer.Option(
        prompt=True,
        hide_input=secretly,
        confirmation_prompt=secretly,
        # With a default, be it nothing, help does not say that the option is required.
        default_factory=lambda: None,
        show_default=False,
        help=f"{words} Asked for if left out.",
    )


def create_admin(
    *,
    email: Annotated[str, _asked("E-mail address; logs in.")],
    username: Annotated[str, _asked("User name; logs in as well.")],
    password: Annotated[
        str, _asked("On the command line it stays in the shell's history.", secretly=True)
    ],
) -> None:
    """Create an account that may do everything.

    Example: app create-admin --email ada@example.com --username ada
    """
    with surroundings() as settings:
        admin = with_resources(
            settings, partial(register_admin, email=email, username=username, password=password)
        )
    typer.echo(f"Created the administrator {admin.username} <{admin.email}>.")


async def register_admin(
    resources: Resources, *, email: str, username: str, password: str
) -> UserProfile:
    """Create an administrator, by the rules for everybody's account.

    Raises:
        CommandFailed: The e-mail address, the name or the password will not do.
        EmailTaken: Another account has the address.
        UsernameTaken: Another account has the name.
    """
    try:
        new = UserCreate.model_validate(
            {"email": email, "username": username, "password": password}
        )
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, at['loc']))}: {at['msg']}" for at in error.errors())
        raise CommandFailed("; ".join(faults)) from None
    async with resources.database.transaction() as session:
        return await user_service(resources, UserRepository(session)).register(
            email=new.email,
            username=new.username,
            password=password,
            role="admin",
        )
