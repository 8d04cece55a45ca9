"""The example of an environment file, made from the settings and their docstrings.

`.env.example` is what this gives, and a test holds it to that. To write it anew:
`uv run python -m app.config > .env.example`
"""

from collections.abc import Iterator
from textwrap import wrap

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from app.core.config.loading import PREFIX

_WIDTH = 96
_HEAD = """\
# Every setting of the service, with its default. In development, copy this file to `.env` and
# uncomment what you change; elsewhere, set variables in the environment: `.env` is not read there.
# Lists have commas between their parts. An empty value is the same as none.
"""


def env_example(model: type[BaseModel]) -> str:
    """The text of `.env.example`: all settings, commented out, by the names of their variables."""
    return _HEAD + "\n".join(_lines(model, PREFIX)) + "\n"


def _lines(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from ("", f"### {field.annotation.__doc__}")
            yield from _lines(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield ""
            yield from (f"# {line}" for line in wrap(field.description or "", _WIDTH))
            yield f"#{prefix}{name.upper()}={_text(field)}"


def _text(field: FieldInfo) -> str:
    match field.default:
        case bool() as flag:
            return str(flag).lower()
        case list() as parts:
            return ",".join(parts)
        case SecretStr() as secret:
            return secret.get_secret_value()
        case str() | int() | float() as value:
            return str(value)
        case _:
            # Nothing, or what depends on the machine.
            return ""
