"""Specifications in files: the grammar of the command line, with texts and examples."""

from collections.abc import Collection, Hashable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import yaml

from fastapi_senior.errors import Refused
from fastapi_senior.resource.names import Names
from fastapi_senior.resource.specification import Field, Specification, parse_field

_LISTS: Final = ("search", "sort", "filter")
_KINDS: Final[Mapping[str, tuple[type, str]]] = {
    "resource": (str, "a name"),
    "singular": (str, "a name"),
    "description": (str, "a text"),
    "fields": (dict, "fields by their names"),
    **dict.fromkeys(_LISTS, (list, "a list of fields, as in `[name, email]`")),
    "count_by": (str, "the name of a field"),
    **dict.fromkeys(("owned", "public", "export", "export_job"), (bool, "`true` or `false`")),
    "quota": (int, "a number"),
}
_OF_FIELDS: Final[Mapping[str, tuple[type, str]]] = {
    "type": (str, 'a text in quotes, as in `"str:1..200"`'),
    "description": (str, "a text"),
    "example": (object, "a value"),
}
MOST: Final = 1_000_000
"""Greatest quota that settings accept."""


class _Loader(yaml.SafeLoader):
    """Loads plain values, and refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                line = node.start_mark.line + 1
                raise Refused(f"`{key}` is there twice, in what starts at line {line}.")
        return super().construct_mapping(node, deep=deep)


def load(path: Path, tables: Collection[str]) -> Specification:
    """Return the specification that a file holds.

    Args:
        path: The file, in YAML.
        tables: Plurals of the resources that fields can refer to.

    Raises:
        Refused: It can't be read, or says what can't be.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Refused(f"{path} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise Refused(f"{path} is no text in UTF-8.") from None
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe one
        return _specification(content, tables)
    except yaml.YAMLError as error:
        raise Refused(f"{path} is no YAML: {error}.") from error
    except Refused as error:
        raise Refused(f"{path}: {error}") from error


def _specification(content: object, tables: Collection[str]) -> Specification:
    values = _checked(content, _KINDS, "a specification")
    for key in ("resource", "fields"):
        if key not in values:
            raise Refused(f"`{key}` is missing.")
    if "owned" in values and "public" in values:
        raise Refused("`owned` and `public` are opposites. Keep one of them.")
    names = Names.of(values.pop("resource"), values.pop("singular", None))
    known = [*tables, names.plural]
    given = values.pop("fields").items()
    fields = tuple(_field(str(name), each, known) for name, each in given)
    if "public" in values:
        values["owned"] = not values.pop("public")
    if not 1 <= values.get("quota", 1) <= MOST:
        raise Refused(f"`quota` is a number from 1 to {MOST:_}.")
    for name in _LISTS:
        if name in values:
            values[name] = tuple(map(str, values[name]))
    return Specification(names, fields, **values)


def _field(name: str, content: object, known: list[str]) -> Field:
    if content is None or isinstance(content, str):
        content = {"type": content} if content else {}
    values = _checked(content, _OF_FIELDS, f"field `{name}`")
    kind = values.pop("type", "")
    separator = ":" if kind and not kind.startswith("=") else ""
    field = parse_field(f"{name}{separator}{kind}", known)
    if "example" in values:
        values["example"] = _example(field, values["example"])
    return replace(field, **values)


def _example(field: Field, value: object) -> object:
    """Return an example as JSON has it."""
    if field.type == "decimal" and not isinstance(value, bool | list | dict):
        with suppress(InvalidOperation):
            return f"{Decimal(str(value)):.{field.scale}f}"
    if isinstance(value, date):
        return value.isoformat().replace("+00:00", "Z")
    fitting = {"int": int, "bool": bool, "json": dict}.get(field.type, str)
    is_other = isinstance(value, bool) and fitting is not bool
    if field.type == "decimal" or not isinstance(value, fitting) or is_other:
        raise Refused(f"`example` of field `{field.name}`: `{value}` is no {field.type}.")
    if field.type == "enum" and value not in field.choices:
        listed = ", ".join(field.choices)
        raise Refused(f"`example` of field `{field.name}` is one of {listed}.")
    return value


def _checked(content: object, kinds: Mapping[str, tuple[type, str]], what: str) -> dict[str, Any]:
    """Return the values of a mapping after a check of their types."""
    if not isinstance(content, dict):
        raise Refused(f"{what} is a mapping. It has {', '.join(f'`{key}`' for key in kinds)}.")
    for key, value in content.items():
        if key not in kinds:
            listed = ", ".join(f"`{each}`" for each in kinds)
            raise Refused(f"{what} has no `{key}`. It has {listed}.")
        kind, words = kinds[key]
        is_other = isinstance(value, bool) and kind not in {bool, object}
        if not isinstance(value, kind) or is_other:
            raise Refused(f"`{key}` of {what} is {words}.")
    return dict(content)
