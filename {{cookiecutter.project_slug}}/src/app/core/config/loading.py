"""From the environment to the settings, with all that is wrong told at once."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource

from app.core.config.base import UNFIT, Location
from app.core.errors import OperatorError

S = TypeVar("S", bound=BaseSettings)

PREFIX = "APP_"
DOTENV = Path(".env")

# Kubernetes and Docker describe a service named `app` to its neighbours by variables like these.
_SERVICE_LINK = re.compile(r"APP_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


class ConfigurationError(OperatorError):
    """The settings won't do. The message is for people and holds no value of a setting."""

    @classmethod
    def listing(cls, faults: Mapping[str, str]) -> Self:
        """The error that tells everything that is wrong, by the names of the variables."""
        lines = (f"  {name}: {sentence}" for name, sentence in faults.items())
        return cls("\n".join(("The settings are not valid:", *lines)))


def load(model: type[S]) -> S:
    """Read settings from the environment and, in development, from `.env`.

    A developer's `.env` thus never reaches the tests, nor a forgotten one production.

    Raises:
        ConfigurationError: With everything that is wrong, by the names of the variables.
    """
    environment = EnvSettingsSource(model)
    values = environment()
    faults = _unknown(model, environment.env_vars)
    if values.get("environment", "development") == "development":
        dotenv = _dotenv(model)
        written = dotenv()
        if written.pop("environment", "development") != "development":
            faults["APP_ENVIRONMENT"] = (
                "can't be set in .env, which is read in development only; set it in the environment"
            )
        faults |= _unknown(model, dotenv.env_vars)
        values = _merged(written, values)
    return _validated(model, values, faults)


def _dotenv(model: type[BaseSettings]) -> DotEnvSettingsSource:
    try:
        return DotEnvSettingsSource(model, env_file=DOTENV, dotenv_filtering="only_existing")
    except (OSError, UnicodeDecodeError):
        # What its settings would have been is not known: to judge the others is no use.
        raise ConfigurationError.listing({str(DOTENV): "can't be read as text in UTF-8"}) from None


def variable_names(model: type[BaseModel]) -> list[str]:
    """The name of every setting as the environment spells it, in the order of the tree."""
    return [_variable(location) for location in _locations(model)]


def _variable(location: Location) -> str:
    return PREFIX + "__".join(location).upper()


def _locations(model: type[BaseModel]) -> Iterator[Location]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from ((name, *inner) for inner in _locations(field.annotation))
        else:
            yield (name,)


def _unknown(model: type[BaseModel], variables: Mapping[str, str | None]) -> dict[str, str]:
    """Variables with our prefix that are no setting: a misspelt one would keep its default."""
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


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Two trees of values as one, where the second has the last word."""
    both = {
        name: _merged(under[name], value)
        for name, value in over.items()
        if isinstance(value, dict) and isinstance(under.get(name), dict)
    }
    return under | over | both


def _validated(model: type[S], values: dict[str, Any], faults: dict[str, str]) -> S:
    """The settings of these values.

    Rules that concern several settings run only once each setting by itself is good. So what is
    wrong is noted and taken out, and the rest is tried again, until nothing new turns up. What
    production asks for comes last, and all of it together.
    """
    given = _places(values)
    while True:
        try:
            settings = model(**values)
        except ValidationError as error:
            again = False
            for found in error.errors(include_url=False, include_input=False):
                location = tuple(str(part) for part in found["loc"])[:2]
                if found["type"] != UNFIT:
                    again |= _remove(values, location)
                elif location in given - _places(values):
                    continue  # its default was judged
                faults.setdefault(_variable(location), found["msg"].removeprefix("Value error, "))
            if again:
                continue
        break
    if faults:
        raise ConfigurationError.listing(faults)
    return settings


def _places(values: Mapping[str, Any]) -> set[Location]:
    """Where there are values."""
    groups = {group: inner for group, inner in values.items() if isinstance(inner, dict)}
    return {(group, name) for group, inner in groups.items() for name in inner}


def _remove(values: dict[str, Any], location: Location) -> bool:
    """Take out the value at a place or, if only its group is there, the group; tell if it was."""
    group, *rest = location
    inner = values.get(group)
    if rest and isinstance(inner, dict) and inner.pop(rest[0], None) is not None:
        return True
    return values.pop(group, None) is not None
