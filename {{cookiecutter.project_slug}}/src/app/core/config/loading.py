"""Loading of the settings, and their documentation in `.env.example`."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from textwrap import wrap
from typing import Final, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from app.core.config.base import PREFIX, ConfigurationError, ServiceSettings, variable

S = TypeVar("S", bound=ServiceSettings)

DOTENV: Final = Path(".env")

# Kubernetes and Docker set variables like these for a service named `app`.
_SERVICE_LINK: Final = re.compile(r"APP_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)")
_SERVICE_URL: Final = re.compile(r"(tcp|udp|sctp)://")

_HEADER: Final = """\
# All settings with their defaults. In development, copy this file to `.env` and uncomment what you
# change; elsewhere, set environment variables: `.env` is ignored. Lists are separated by commas. An
# empty value counts as unset.
"""


def load(model: type[S]) -> S:
    """Read the settings from the environment and, in development, from `.env`.

    Raises:
        ConfigurationError: Some are invalid. Each one by itself is checked first, then the rules
            over several.
    """
    environment = EnvSettingsSource(model)
    sources = [environment]
    faults = _unknown(model, environment.env_vars)
    if environment().get("environment", "development") == "development":
        dotenv = _dotenv(model)
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
    except ConfigurationError as error:
        faults |= error.faults
    else:
        if not faults:
            return settings
    raise ConfigurationError(faults)


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


def _fields(model: type[BaseModel]) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Yield the location and the definition of each setting."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for location, inner in _fields(field.annotation):
                yield (name, *location), inner
        else:
            yield (name,), field


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is None or field.default_factory is not None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, list):
        return ",".join(map(str, default))
    return default.get_secret_value() if isinstance(default, SecretStr) else str(default)


def _dotenv(model: type[ServiceSettings]) -> DotEnvSettingsSource:
    try:
        return DotEnvSettingsSource(model, env_file=DOTENV, dotenv_filtering="only_existing")
    except (OSError, UnicodeDecodeError):
        # Without .env the remaining errors would be misleading.
        raise ConfigurationError({str(DOTENV): "can't be read as UTF-8 text"}) from None


def _unknown(model: type[ServiceSettings], variables: Mapping[str, str | None]) -> dict[str, str]:
    """Return variables with our prefix that are no setting, such as misspelt ones."""
    known = variable_names(model)
    faults = {}
    for name, value in sorted((name.upper(), value or "") for name, value in variables.items()):
        if not name.startswith(PREFIX) or name in known:
            continue
        if not (_SERVICE_LINK.fullmatch(name) or _SERVICE_URL.match(value)):
            faults[name] = "there is no such setting" + _suggestion(name, known)
    return faults


def _suggestion(name: str, known: list[str]) -> str:
    same_end = [other for other in known if other.endswith(f"_{name.removeprefix(PREFIX)}")]
    close = get_close_matches(name, known, n=1, cutoff=0.85) or same_end
    return f"; did you mean {close[0]}?" if close else ""
