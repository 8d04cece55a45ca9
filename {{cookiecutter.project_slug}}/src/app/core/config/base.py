"""Base classes of the settings, their loading, and their documentation in `.env.example`."""

import json
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from socket import inet_aton
from textwrap import wrap
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python
from pydantic_settings import (
    BaseSettings,  # noqa: TID251 - the one tree
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.core.errors import OperatorError

T = TypeVar("T")
PREFIX: Final = "APP_"
DOTENV: Final = Path(".env")

# Kubernetes and Docker set variables like these for a service named `app`.
_SERVICE_LINK: Final = re.compile(r"APP_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)")
_SERVICE_URL: Final = re.compile(r"(tcp|udp|sctp)://")

_HEADER: Final = """\
# All settings with their defaults. In development, copy this file to `.env` and uncomment what you
# change; elsewhere, set environment variables: `.env` is ignored. Lists are separated by commas. An
# empty value counts as unset.
"""


class ConfigurationError(OperatorError):
    """The settings are invalid.

    Attributes:
        faults: A message for each variable at fault; none contains a value.
    """

    def __init__(self, faults: Mapping[str, str]) -> None:
        self.faults = dict(faults)
        lines = (f"  {name}: {message}" for name, message in faults.items())
        super().__init__("\n".join(("The settings are invalid:", *lines)))


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    if re.match(r"\s*\[(?![0-9a-fA-F]*:)", value):  # neither `[::1]` nor `[fe80::1]`
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError("must be valid JSON if it starts with '['") from error
    return [part for part in (part.strip() for part in value.split(",")) if part]


ListOf = Annotated[list[T], BeforeValidator(_split)]
"""A list; variables separate its values by commas (`a,b`) or use JSON (`["a", "b"]`)."""


def matching(pattern: str, fault: str) -> AfterValidator:
    """Return a validator of strings; `{!r}` in `fault` becomes the string that does not match."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(fault.format(text))
        return text

    return AfterValidator(check)


_LOCAL_NAMES: Final = re.compile(r"(.+\.)?localhost")
# Names without a dot and reserved ones (RFC 6762, 8375, 9476; ICANN's `internal`; Kubernetes).
_PRIVATE_NAMES: Final = re.compile(r"[^.]+|.+\.(internal|local|svc|lan|home\.arpa|alt)")


def network_of_host(host: str | None) -> Literal["local", "private", "public"]:
    """Return the network that a host is in, by its address or name; names are not resolved."""
    name = (host or "localhost").strip("[]").rstrip(".").lower()
    address = _address_of(name)
    if address is None:
        if name.startswith("/") or _LOCAL_NAMES.fullmatch(name):
            return "local"
        return "private" if _PRIVATE_NAMES.fullmatch(name) else "public"
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return "local"
    return "public" if address.is_global else "private"


def _address_of(name: str) -> IPv4Address | IPv6Address | None:
    with suppress(ValueError):
        return ip_address(name)
    with suppress(ValueError, OSError):
        # The other forms that clients accept, such as `134744072` and `0x08080808` for 8.8.8.8.
        return IPv4Address(inet_aton(name))
    return None


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
        """Yield violated rules about several settings or production: field and message."""
        yield from ()

    def risks(self) -> Iterator[tuple[str, str]]:
        """Yield settings that production accepts with a warning: field and message."""
        yield from ()

    def open_files(self, concurrency: int) -> int:
        """Return the files and sockets that a process opens for this many requests at once."""
        return 0


class ServiceSettings(BaseSettings):
    """Base of the service's settings.

    The constructor takes arguments and defaults; only `load` reads the environment.

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

    @property
    def groups(self) -> dict[str, SettingsGroup]:
        """The groups by name."""
        return {name: group for name, group in self if isinstance(group, SettingsGroup)}

    @property
    def risks(self) -> dict[str, str]:
        """Variables that are risky in production, with the reason."""
        return {
            variable(name, field): message
            for name, group in self.groups.items()
            for field, message in group.risks()
        }

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        faults = _broken_rules(self.groups, production=self.is_production)
        if faults:
            raise ConfigurationError(faults)
        return self


S = TypeVar("S", bound=ServiceSettings)


def load(model: type[S]) -> S:
    """Read the settings from the environment and, in development, from `.env`.

    Raises:
        ConfigurationError: Some are invalid. All faults are reported, except for rules over
            several settings of a group with an invalid one.
    """
    environment = EnvSettingsSource(model)
    sources = [environment]
    faults = _unknown(model, environment.env_vars)
    if environment().get("environment", "development") == "development":
        try:
            dotenv = DotEnvSettingsSource(model, env_file=DOTENV, dotenv_filtering="only_existing")
        except (OSError, UnicodeDecodeError):
            # Without .env the remaining errors would be misleading.
            raise ConfigurationError({str(DOTENV): "can't be read as UTF-8 text"}) from None
        sources.append(dotenv)
        faults |= _unknown(model, dotenv.env_vars)
        if dotenv().get("environment", "development") != "development":
            faults[variable("environment")] = "can't be set in .env, which only development reads"
    try:
        settings = model(_build_sources=(tuple(sources), {}))
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            location = (str(part) for part in found["loc"][:2])
            message = found["msg"].removeprefix("Value error, ")
            faults.setdefault(variable(*location), message)
        faults = {**_broken_rules_of_valid_groups(model, sources), **faults}
    except ConfigurationError as error:
        faults |= error.faults
    else:
        if not faults:
            return settings
    raise ConfigurationError(faults)


def _broken_rules(groups: Mapping[str, SettingsGroup], *, production: bool) -> dict[str, str]:
    return {
        variable(name, field): message
        for name, group in groups.items()
        for field, message in group.check(production=production)
    }


def _broken_rules_of_valid_groups(
    model: type[ServiceSettings], sources: list[EnvSettingsSource]
) -> dict[str, str]:
    values = [source() for source in sources]
    groups = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, SettingsGroup):
            # A variable named like a group has a string value.
            with suppress(ValidationError, TypeError, ValueError):
                given = dict(ChainMap(*(each.get(name, {}) for each in values)))
                groups[name] = field.annotation.model_validate(given)
    production = values[0].get("environment") == "production"
    return _broken_rules(groups, production=production)


def variable(*location: str) -> str:
    """Return the name of the environment variable for a setting, by its group and name."""
    return PREFIX + "__".join(location).upper()


def variable_names(model: type[BaseModel]) -> list[str]:
    """Return the environment variables of all settings, in the order of their declaration."""
    return [variable(*location) for location, _ in _fields(model)]


def env_example(model: type[BaseModel]) -> str:
    """Return the text of `.env.example`: every setting with its default, commented out."""
    lines, groups = [], set()
    for location, field in _fields(model):
        for group in location[:-1]:
            if group not in groups:
                groups.add(group)
                lines += ["", f"### {model.model_fields[group].annotation.__doc__}"]
        lines += ["", *(f"# {line}" for line in wrap(field.description or "", 96))]
        lines.append(f"#{variable(*location)}={_default(field)}")
    return _HEADER + "\n".join(lines) + "\n"


def _fields(model: type[BaseModel], *group: str) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Yield the location and the definition of each setting."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, name)
        else:
            yield (*group, name), field


def _default(field: FieldInfo) -> str:
    """Return a default as the variable's value; a setting that is computed if unset has None."""
    default = field.get_default(call_default_factory=True)
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    match to_jsonable_python(default):
        case None:
            return ""
        case str(text):
            return text
        case list(values):
            return ",".join(map(str, values))
        case value:
            return json.dumps(value)


def _unknown(model: type[ServiceSettings], variables: Mapping[str, str | None]) -> dict[str, str]:
    """Return variables with our prefix that are not settings, such as misspelled ones."""
    known = variable_names(model)
    faults = {}
    for name, value in sorted((name.upper(), value or "") for name, value in variables.items()):
        if not name.startswith(PREFIX) or name in known:
            continue
        if _SERVICE_LINK.fullmatch(name) or _SERVICE_URL.match(value):
            continue
        same_end = [other for other in known if other.endswith(f"_{name.removeprefix(PREFIX)}")]
        close = get_close_matches(name, known, n=1, cutoff=0.85) or same_end
        faults[name] = "unknown setting"
        faults[name] += f"; did you mean {close[0]}?" if close else ""
    return faults
