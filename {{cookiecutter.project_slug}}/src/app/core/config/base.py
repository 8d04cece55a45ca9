"""Base classes of the settings."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict  # noqa: TID251 - the one tree

from app.core.errors import OperatorError

PREFIX: Final = "APP_"


class ConfigurationError(OperatorError):
    """The settings are invalid.

    Attributes:
        faults: A message for each variable at fault; none contains a value.
    """

    def __init__(self, faults: Mapping[str, str]) -> None:
        self.faults = dict(faults)
        lines = (f"  {name}: {message}" for name, message in faults.items())
        super().__init__("\n".join(("The settings are invalid:", *lines)))


class SettingsGroup(BaseModel):
    """Base of a group of settings."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    def check(self, *, production: bool) -> Iterator[tuple[str, str]]:
        """Yield broken rules over several settings or about production: field and message."""
        yield from ()


class ServiceSettings(BaseSettings):
    """Base of the service's settings.

    Constructed directly, it takes arguments and defaults; only `load` reads the environment.

    Raises:
        ConfigurationError: A rule of a group is broken.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    environment: Literal["development", "test", "production"] = "development"
    """`production` refuses settings that are only safe in development."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is inherited
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the arguments alone."""
        return (init_settings,)

    @property
    def is_production(self) -> bool:
        """Whether this is the production environment."""
        return self.environment == "production"

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        faults = {
            variable(name, field): message
            for name, group in self
            if isinstance(group, SettingsGroup)
            for field, message in group.check(production=self.is_production)
        }
        if faults:
            raise ConfigurationError(faults)
        return self


def variable(*location: str) -> str:
    """Return the name of the environment variable for a setting, by its group and name."""
    return PREFIX + "__".join(location).upper()


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError("must be valid JSON if it starts with '['") from error
    return [part for part in (part.strip() for part in value.split(",")) if part]


Names = Annotated[list[str], BeforeValidator(_split)]
"""A list of strings; variables separate them by commas (`a,b`) or use JSON (`["a", "b"]`)."""
