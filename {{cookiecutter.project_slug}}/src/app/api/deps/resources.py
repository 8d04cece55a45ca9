"""What the lifespan opened, for dependencies to stand on."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from app.api.deps.inline import on_loop
from app.config import Settings
from app.resources import Resources


@on_loop
def get_resources(connection: HTTPConnection) -> Resources:
    """Return what the service stands on; stands on the lifespan having opened it."""
    resources: Resources = connection.app.state.resources
    return resources


ResourcesDep = Annotated[Resources, Depends(get_resources)]


@on_loop
def get_settings(resources: ResourcesDep) -> Settings:
    """Return the configuration; stands on the resources."""
    return resources.settings


SettingsDep = Annotated[Settings, Depends(get_settings)]
