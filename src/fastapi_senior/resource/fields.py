"""Fragments of code for the fields of a resource, by their types."""

import textwrap
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from keyword import iskeyword
from typing import Any, Final

from fastapi_senior.resource.specification import (
    FILTERED_BY_RANGE,
    INT_BOUNDS,
    Field,
    Specification,
)

EXAMPLE_ID: Final = "01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10"
OF_TYPES: Final = frozenset({"date", "decimal", "json", "url"})
"""Types of fields whose requests need more than Pydantic."""

LONGEST_NAME: Final = 63
"""PostgreSQL cuts names after so many bytes."""

_FILLER: Final = "x"
_LONG: Final = 40
"""Longer repetitions are written as products."""

_PART: Final = 60
_ENUM_LENGTH: Final = 16
_PYTHON: Final = {
    "str": "str",
    "text": "str",
    "int": "int",
    "decimal": "Decimal",
    "bool": "bool",
    "date": "date",
    "datetime": "datetime",
    "email": "str",
    "url": "str",
    "uuid": "UUID",
    "json": "dict[str, Any]",
    "relation": "UUID",
}
_EXAMPLES: Final[dict[str, Any]] = {
    "str": "Bernoulli numbers",
    "text": "Note G, with a table.",
    "bool": True,
    "date": "2026-11-21",
    "datetime": "2026-11-21T10:30:00Z",
    "email": "ada@example.com",
    "url": "https://example.com/engine",
    "uuid": EXAMPLE_ID,
    "json": {"colour": "blue"},
    "relation": EXAMPLE_ID,
}
_TAKEN_ALIASES: Final = frozenset(
    """
    Annotated Any BeforeValidator Day Decimal Email Field I JsonValue Literal MISSING Moment O Page
    UUID
    """.split()
)
_TAKEN_TYPES: Final = frozenset(
    "Changed Created Deleted Event Fields Filter Id NotFound Permission Sort Stats".split()
)


def camel(name: str) -> str:
    """Return a name in the case of classes."""
    return "".join(word.title() for word in name.split("_"))


def words(name: str) -> str:
    """Return a name in prose."""
    return name.removesuffix("_id").replace("_", " ")


def enum_type(resource: Specification, field: Field) -> str:
    """Return the name of the type of an enum: `ItemStatus`."""
    name = camel(field.name)
    return resource.names.entity + (f"{name}Value" if name in _TAKEN_TYPES else name)


def enum_types(resource: Specification) -> list[str]:
    """Return the names of the types of all enums."""
    return [enum_type(resource, each) for each in resource.fields if each.type == "enum"]


def alias(field: Field) -> str:
    """Return the name of a field's type in requests: `Title`."""
    name = camel(field.name)
    return f"{name}Value" if name in _TAKEN_ALIASES or iskeyword(name) else name


def taken_errors(resource: Specification) -> list[str]:
    """Return the errors of violated unique constraints."""
    return [f"{resource.names.entity}{camel(f.name)}Taken" for f in resource.fields if f.unique]


def counts(resource: Specification) -> list[str]:
    """Return the names of the numbers in the statistics."""
    field = resource[resource.count_by or ""]
    return [choice.replace("-", "_") for choice in field.choices]


def python(resource: Specification, field: Field) -> str:
    """Return the type of a value, without `None`."""
    return enum_type(resource, field) if field.type == "enum" else _PYTHON[field.type]


def python_types(name: str | None) -> frozenset[str]:
    """Return the types of values of a type of fields, as responses may have them."""
    found = _PYTHON.get(name or "")
    return frozenset({found, "JsonObject"} if name == "json" else {found}) if found else frozenset()


def annotation(resource: Specification, field: Field) -> str:
    """Return the type of a value in read models."""
    return python(resource, field) + (" | None" if field.optional else "")


def shown_type(resource: Specification, field: Field) -> str:
    """Return the type of a value in responses."""
    return annotation(resource, field).replace("dict[str, Any]", "JsonObject")


def literal(value: object) -> str:
    """Return a value as an expression of Python."""
    if isinstance(value, str):
        kept = value.rstrip(_FILLER)
        if len(value) - len(kept) > _LONG:
            filled = f'"{_FILLER}" * {len(value) - len(kept)}'
            return f"{literal(kept)} + {filled}" if kept else filled
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Decimal):
        return f'Decimal("{value:f}")' if "." in f"{value:f}" else f"Decimal({value:f})"
    if isinstance(value, datetime):
        return f"datetime.fromisoformat({literal(value.astimezone(UTC).isoformat())})"
    if isinstance(value, date):
        return f"date({value.year}, {value.month}, {value.day})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    return repr(value)


def sentence(text: str) -> str:
    """Return a text as an expression of Python, in parts that the formatter joins or wraps."""
    parts = textwrap.wrap(text, _PART, break_long_words=False, break_on_hyphens=False)
    *before, last = parts or [""]
    if not before:
        return literal(last)
    return f"({' '.join([*(literal(f'{part} ') for part in before), literal(last)])})"


def number(value: Decimal) -> str:
    """Return a bound as an expression of Python."""
    if value % 1 == 0:
        text = f"{int(value):_}"
        return text if abs(value) >= 10_000 else text.replace("_", "")  # noqa: PLR2004
    return f'Decimal("{value:f}")'


def sql_type(field: Field) -> str:
    """Return the type of the column, for a model."""
    match field.type:
        case "str":
            return f"String({number(_high(field))})"
        case "email":
            return "String(254)"
        case "url":
            return "String(2048)"
        case "enum":
            longest = max(map(len, field.choices))
            return f"String({_ENUM_LENGTH if longest <= _ENUM_LENGTH else 40})"
        case "text":
            return "Text"
        case "int":
            fits = INT_BOUNDS[0] <= _low(field) and _high(field) <= INT_BOUNDS[1]
            return "" if fits else "BigInteger"
        case "decimal":
            return f"Numeric({field.precision}, {field.scale})"
        case "json":
            return "JSON"
        case _:
            return ""


def column(resource: Specification, field: Field, target: str = "") -> str:
    """Return the declaration of a column."""
    arguments = [sql_type(field)] if sql_type(field) else []
    if field.type == "relation":
        referred = f"{target}.id"
        if field.target == resource.names.plural:
            referred = literal(f"{field.target}.id")
        name = _unconventional("fk", resource.names.plural, field.name, field.target or "")
        arguments.append(f'ForeignKey({referred}, {name}ondelete="{field.on_delete}")')
    if field.default is not None:
        arguments.append(f"default={literal(field.default)}")
    text = f"{field.name}: Mapped[{annotation(resource, field)}]"
    return f"{text} = mapped_column({', '.join(arguments)})" if arguments else text


def sa_type(field: Field) -> str:
    """Return the type of the column, for a migration."""
    match field.type:
        case "str" | "email" | "url" | "enum":
            return f"sa.String(length={sql_type(field)[7:-1].replace('_', '')})"
        case "text":
            return "sa.Text()"
        case "int":
            return f"sa.{sql_type(field) or 'Integer'}()"
        case "decimal":
            return f"sa.Numeric(precision={field.precision}, scale={field.scale})"
        case "bool":
            return "sa.Boolean()"
        case "date":
            return "sa.Date()"
        case "datetime":
            return "sa.DateTime(timezone=True)"
        case "json":
            return "sa.JSON()"
        case _:
            return "sa.Uuid()"


def input_type(resource: Specification, field: Field) -> str:
    """Return the type of a field in requests, with its constraints and description."""
    low, high = field.low, field.high
    constraints = []
    match field.type:
        case "str":
            kind = "str"
            least = f"min_length={number(_low(field))}, " if low else ""
            pattern = "VISIBLE_LINE" if low else "LINE"
            constraints = [
                f"StringConstraints({least}max_length={number(_high(field))}, pattern={pattern})"
            ]
        case "text":
            kind = "str"
            least = f"min_length={number(_low(field))}, " if low else ""
            constraints = [
                f"StringConstraints({least}max_length={number(_high(field))}, pattern=TEXT)"
            ]
        case "email":
            kind = "Email"
        case "url":
            kind = "WebAddress"
        case "date":
            kind = "Day"
        case "datetime":
            kind = "Moment"
        case "json":
            kind = "JsonObject"
        case _:
            kind = python(resource, field)
    bounds = ""
    if field.type in {"int", "decimal"} and low is not None and high is not None:
        bounds = f"ge={number(low)}, le={number(high)}, "
    if field.type == "decimal":
        bounds += f"max_digits={field.precision}, decimal_places={field.scale}, "
        bounds += "json_schema_extra=bound_text, "
    documentation = "" if field.optional else documented(field)
    if bounds or documentation:
        constraints.append(f"Field({bounds}{documentation})")
    if field.type in {"int", "decimal"}:
        validator = "is_a_number" if field.type == "int" else "is_a_decimal"
        constraints.append(f"BeforeValidator({validator})")
    if field.type == "decimal":
        constraints.append(f"to_places({field.scale})")
    return f"Annotated[{kind}, {', '.join(constraints)}]" if constraints else kind


def documented(field: Field) -> str:
    """Return description and example of a field, as arguments of `Field`."""
    return f"description={sentence(description(field))}, examples=[{shown(field)}]"


def description(field: Field) -> str:
    """Return the description of a field."""
    if field.description:
        return field.description
    if field.type == "relation":
        return f"ID of the {words(field.name)}."
    return f"{words(field.name).capitalize()}."


def shown(field: Field) -> str:
    """Return the example of a field as an expression of Python."""
    return "EXAMPLE_ID" if field.type in {"uuid", "relation"} else literal(example(field))


def example(field: Field) -> Any:
    """Return a value of a field as JSON has it."""
    if field.example is not None:
        return field.example
    if field.type == "enum":
        return field.choices[-1]
    if field.type in {"int", "decimal"}:
        value = _within(field, Decimal(42))
        return int(value) if field.type == "int" else f"{value:.{field.scale}f}"
    text = _EXAMPLES[field.type]
    if field.type in {"str", "text"}:
        text = str(text)
        return text.ljust(int(_low(field)), _FILLER)[: int(_high(field))].strip() or _FILLER
    return text


def filter_field(resource: Specification, field: Field, description_: str) -> str:
    """Return type and value of a parameter of lists."""
    kind = enum_type(resource, field) if field.type == "enum" else alias(field)
    bounds = ""
    if field.type == "int":  # in a query it is text, which `is_a_number` refuses
        kind = "int"
        bounds = f"ge={number(_low(field))}, le={number(_high(field))}, "
    documentation = f"description={sentence(description_)}, examples=[{shown(field)}]"
    return f"{kind} | None = Field(None, {bounds}{documentation})"


def export_example(resource: Specification) -> str:
    """Return the example of an export's filters."""
    for field in resource.filterable:
        if not is_range(field):
            return f"{{{literal(field.name)}: {shown(field)}}}"
    return '{"created_from": "2026-11-21T10:30:00Z"}'


def conditions(resource: Specification) -> list[tuple[str, str, str]]:
    """Return parameter, column and operator of each filter."""
    found = []
    for field in resource.filterable:
        if is_range(field):
            first, last = range_names(field)
            found.append((first, field.name, "ge"))
            found.append((last, field.name, "lt" if last.endswith("before") else "le"))
        else:
            found.append((field.name, field.name, "eq"))
    return found


def range_names(field: Field) -> tuple[str, str]:
    """Return the names of a filter by a range: its first value, and its end."""
    if field.type in {"date", "datetime"}:
        return f"{field.name}_from", f"{field.name}_before"
    return f"{field.name}_min", f"{field.name}_max"


def is_range(field: Field) -> bool:
    """Tell whether lists filter a field by a range."""
    return field.type in FILTERED_BY_RANGE


def indexes(resource: Specification) -> list[tuple[str, tuple[str, ...]]]:
    """Return name and columns of each index."""
    owner = () if not resource.owned else ("owner_id",)
    found = [
        (*owner, "created_at", "id"),
        (*owner, "updated_at", "id"),
        *((*owner, field.name, "id") for field in resource.sortable),
        *(
            (*owner, field.name, "created_at", "id")
            for field in resource.filterable
            if not (is_range(field) and field.name in resource.sort)
        ),
        *((field.name,) for field in resource.relations),
    ]
    if not resource.owned:
        found.append(("owner_id",))
    uniques = [(*owner, field.name) for field in resource.fields if field.unique]
    needed = [
        each
        for each in dict.fromkeys(found)
        if not any(
            other[: len(each)] == each
            for other in (*uniques, *(other for other in found if other != each))
        )
    ]
    return [(constraint_name("ix", resource.names.plural, *each), each) for each in needed]


def constraint_name(kind: str, table: str, *parts: str) -> str:
    """Return the conventional name of a constraint or index, or a shorter one."""
    name = "_".join((kind, table, *parts))
    if len(name) <= LONGEST_NAME:
        return name
    short = "_".join((kind, table, *(part for part in parts if part not in {"owner_id", "id"})))
    if len(short) <= LONGEST_NAME:
        return short
    return f"{short[: LONGEST_NAME - 5]}_{sha256(name.encode()).hexdigest()[:4]}"


def check(resource: Specification, field: Field) -> str:
    """Return the declaration of the constraint of an enum; the convention adds the table."""
    table = resource.names.plural
    name = constraint_name("ck", table, field.name).removeprefix(f"ck_{table}_")
    values = ", ".join(f"'{choice}'" for choice in field.choices)
    return f"CheckConstraint({sentence(f'{field.name} IN ({values})')}, name={literal(name)})"


def unique(resource: Specification, field: Field) -> str:
    """Return the declaration of a unique constraint, with its error."""
    columns = ("owner_id", field.name) if resource.owned else (field.name,)
    name = _unconventional("uq", resource.names.plural, *columns)
    error = f"{resource.names.entity}{camel(field.name)}Taken"
    return f'UniqueConstraint({", ".join(map(literal, columns))}, {name}info={{"error": {error}}})'


def _unconventional(kind: str, table: str, *parts: str) -> str:
    """Return the argument for a name that is too long for the convention."""
    name = constraint_name(kind, table, *parts)
    return "" if name == "_".join((kind, table, *parts)) else f"name={literal(name)}, "


def index(resource: Specification, name: str, columns: tuple[str, ...]) -> str:
    """Return the declaration of an index; its name is left to the convention, if it fits."""
    conventional = "_".join(("ix", resource.names.plural, *columns))
    first = "None" if name == conventional else literal(name)
    return f"Index({first}, {', '.join(map(literal, columns))})"


def prose(names: list[str], conjunction: str) -> str:
    """Return words as a list in prose."""
    *first, last = names
    return f"{', '.join(first)} {conjunction} {last}" if first else last


def each_sort(resource: Specification) -> Iterator[str]:
    """Yield the orders of lists."""
    for name in ("created_at", "updated_at", *resource.sort):
        yield name
        yield f"-{name}"


def _low(field: Field) -> Decimal:
    return field.low if field.low is not None else Decimal(0)


def _high(field: Field) -> Decimal:
    return field.high if field.high is not None else Decimal(0)


def _within(field: Field, value: Decimal) -> Decimal:
    return min(max(value, _low(field)), _high(field))
