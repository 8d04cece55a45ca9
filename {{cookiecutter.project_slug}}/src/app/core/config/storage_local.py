"""Settings of stored files."""

from typing import Annotated, Final

from pydantic import Field

from app.core.config.base import SettingsGroup

_GIBIBYTE: Final = 1024**3


class StorageSettings(SettingsGroup):
    """Where files are kept: a directory of this machine."""

    directory: str = ".dev/files"
    """The directory, on a disk that lasts and that all processes of the service see. It is made if
    it is not there."""

    max_file_bytes: Annotated[int, Field(ge=1)] = _GIBIBYTE
    """Largest file, in bytes."""
