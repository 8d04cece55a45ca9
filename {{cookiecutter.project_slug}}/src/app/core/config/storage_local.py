"""Settings of file storage."""

from typing import Annotated

from pydantic import Field

from app.core.config.base import SettingsGroup


class StorageSettings(SettingsGroup):
    """File storage in a local directory."""

    directory: str = ".dev/files"
    """Directory on a persistent disk that all processes of the service share. Created if
    missing."""

    max_file_bytes: Annotated[int, Field(ge=1)] = 1024**3
    """Maximum size of a file, in bytes."""
