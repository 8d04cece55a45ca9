"""Specifications of resources: fields in a short grammar, options, or both from a file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from keyword import iskeyword
from typing import Any, Final, Literal, get_args
from uuid import UUID

from fastapi_senior.errors import Refused
from fastapi_senior.resource.names import Names

Type = Literal[
    "str", "text", "int", "decimal", "bool", "date", "datetime", "email", "url", "uuid", "json",
    "enum", "relation",
]  # fmt: skip
OnDelete = Literal["CASCADE", "SET NULL"]

TYPES: Final = tuple(name for name in get_args(Type) if name not in {"enum", "relation"})
TEXTS: Final = frozenset({"str", "text", "email", "url"})
SORTABLE: Final = frozenset({"str", "int", "decimal", "date", "datetime", "email"})
FILTERED_BY_RANGE: Final = frozenset({"int", "decimal", "date", "datetime"})
FILTERABLE: Final = frozenset(
    {*FILTERED_BY_RANGE, "str", "email", "uuid", "bool", "enum", "relation"}
)

MOST_FIELDS: Final = 50
LONGEST_NAME: Final = 30
LONGEST_VALUE: Final = 40
INT_BOUNDS: Final = (-(2**31), 2**31 - 1)
BIG_INT_BOUNDS: Final = (-(2**63), 2**63 - 1)
LENGTHS: Final[Mapping[str, tuple[int, int]]] = {"str": (1, 200), "text": (0, 10_000)}
FEWEST: Final = 50
"""A unique field needs so many possible values."""

LONGEST_STR: Final = 1_000
LONGEST_TEXT: Final = 100_000
PRECISION: Final = (12, 2)
MOST_DIGITS: Final = 15
"""SQLite stores decimals as floating-point numbers, which keep so many digits."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_VALUE = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
_BOUNDS = re.compile(r"(?P<low>-?\d+(\.\d+)?)?\.\.(?P<high>-?\d+(\.\d+)?)?")
_PRECISION = re.compile(r"(?P<precision>\d+)\.(?P<scale>\d+)")
_ON_DELETE: Final[Mapping[str, OnDelete]] = {"cascade": "CASCADE", "set-null": "SET NULL"}

_OWN: Final = frozenset({"id", "owner_id", "version", "created_at", "updated_at"})
_OF_LIBRARIES: Final = frozenset(
    """
    construct copy dict fields from_orm json metadata parse_file parse_obj parse_raw registry schema
    schema_json to_filter update_forward_refs validate
    """.split()
)
"""Attributes of declarative models, Pydantic models, and the schemas of the project."""

_SECRET = re.compile(r".*(password|secret|hash|private_key).*|.*token|key")
_WORDS = re.compile(r"([a-z]{2,}[0-9]*)(_([a-z]{2,}[0-9]*|[0-9]+))*")

_OF_LISTS: Final = frozenset({"cursor", "format", "limit", "page", "q", "sort"})
"""Query parameters of lists and exports."""

_RESERVED: Final = frozenset(
    """
    False None True and as assert async await break class continue def del elif else except finally
    for from global if import in is lambda nonlocal not or pass raise return try while with yield
    """.split()
)


_RESERVED_IN_SQL: Final = frozenset(
    """
    add all alter analyse analyze any array asc asymmetric authorization autoincrement between
    binary both case cast check collate collation column commit constraint create cross current_date
    current_role current_time current_timestamp current_user default deferrable delete desc distinct
    do drop end escape exists fetch foreign freeze full grant group having ilike index initially
    inner insert intersect into isnull join lateral leading left like limit localtime localtimestamp
    natural nothing notnull null offset on only order outer overlaps placing primary references
    returning right select session_user set similar some symmetric system_user table tablesample
    then to trailing transaction union unique update user using values variadic verbose when where
    window
    """.split()
)
"""Keywords of PostgreSQL and SQLite that must be quoted, besides those of Python."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a resource.

    Attributes:
        name: Name of the column: of a relation, with `_id`.
        low: Least length or value.
        high: Greatest length or value.
        choices: Values of an `enum`.
        default: Value of requests that leave the field out; `None` without one.
        target: Plural of the resource that a relation refers to.
    """

    name: str
    type: Type
    optional: bool = False
    unique: bool = False
    low: Decimal | None = None
    high: Decimal | None = None
    precision: int = PRECISION[0]
    scale: int = PRECISION[1]
    choices: tuple[str, ...] = ()
    default: Any = None
    target: str | None = None
    on_delete: OnDelete = "CASCADE"
    description: str = ""
    example: Any = None

    @property
    def required(self) -> bool:
        """Whether requests that create a row must have the field."""
        return not self.optional and self.default is None


@dataclass(frozen=True, slots=True)
class Specification:
    """A resource to generate.

    Attributes:
        owned: Whether only its owner reads a row; else everybody does, without credentials. In
            either case the owner alone writes it.
        search: Fields that `q` finds text in.
        sort: Fields that lists sort by, besides the times.
        filter: Fields that lists filter by, besides the time of creation.
        count_by: The field that `/stats` counts by.
        export: Whether lists are exported as CSV and NDJSON.
        export_job: Whether they are exported by a job, too.
    """

    names: Names
    fields: tuple[Field, ...]
    owned: bool = True
    search: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    filter: tuple[str, ...] = ()
    count_by: str | None = None
    export: bool = False
    export_job: bool = False
    tests: bool = True
    description: str = ""
    quota: int = 10_000

    def __post_init__(self) -> None:
        """Check what the fields and options say together.

        Raises:
            Refused: They contradict each other.
        """
        if not self.fields:
            raise Refused("A resource needs a field, such as `name` or `total:decimal`.")
        if all(each.type == "relation" and each.optional for each in self.fields):
            raise Refused("A resource needs a field besides optional relations.")
        if len(self.fields) > MOST_FIELDS:
            raise Refused(f"A resource has at most {MOST_FIELDS} fields.")
        names = [each.name for each in self.fields]
        for name in names:
            if names.count(name) > 1:
                raise Refused(f"There are two fields `{name}`. Rename one.")
        for each in self.relations:
            if each.target == self.names.plural and not each.optional:
                raise Refused(
                    f"`{each.name}` refers to the resource itself, and the first could refer to "
                    "none. Add `:optional`."
                )
        self._check("search", self.search, TEXTS)
        self._check("sort", self.sort, SORTABLE)
        self._check("filter", self.filter, FILTERABLE)
        for name in self.sort:
            if self[name].optional:
                raise Refused(
                    f"`{name}` is optional, and pages cannot continue after an empty value. "
                    "Give it a default instead of `:optional`, or leave it out of `--sort`."
                )
        if self.count_by is not None:
            self._check("count-by", (self.count_by,), frozenset({"enum"}))
            if self[self.count_by].optional:
                raise Refused(
                    f"`{self.count_by}` is optional; `--count-by` needs a value in each row."
                )
            self._check_counts(self[self.count_by].choices)
        if self.export_job and not self.export:
            raise Refused("`--export-job` writes what `--export` answers. Pass both.")
        if self.export_job and not self.owned:
            raise Refused(
                "`--export-job` writes files for owners. Leave it out for a public resource."
            )
        if self.count_by and not self.owned:
            raise Refused("`--count-by` counts the rows of an owner. Leave it out with `--public`.")

    def __getitem__(self, name: str) -> Field:
        """Return a field by its name."""
        return next(each for each in self.fields if each.name == name)

    @property
    def searchable(self) -> tuple[Field, ...]:
        """Return the fields that `q` finds text in."""
        return tuple(self[name] for name in self.search)

    @property
    def sortable(self) -> tuple[Field, ...]:
        """Return the fields that lists sort by, besides the times."""
        return tuple(self[name] for name in self.sort)

    @property
    def filterable(self) -> tuple[Field, ...]:
        """Return the fields that lists filter by."""
        return tuple(self[name] for name in self.filter)

    @property
    def relations(self) -> tuple[Field, ...]:
        """Return the relations."""
        return tuple(each for each in self.fields if each.type == "relation")

    def _check_counts(self, choices: Sequence[str]) -> None:
        names = [each.replace("-", "_") for each in choices]
        for name in names:
            if iskeyword(name) or name == "total" or names.count(name) > 1:
                raise Refused(f"`/stats` can't have a field `{name}`. Leave `--count-by` out.")

    def _check(self, option: str, names: Sequence[str], types: frozenset[str]) -> None:
        known = [each.name for each in self.fields]
        for name in names:
            if name not in known:
                raise Refused(
                    f"--{option}: there is no field `{name}`. The fields are {', '.join(known)}."
                )
            if self[name].type not in types:
                raise Refused(
                    f"--{option}: `{name}` is of type {self[name].type}; "
                    f"possible are {', '.join(sorted(types))}."
                )
            if names.count(name) > 1:
                raise Refused(f"--{option}: `{name}` is there twice.")


def parse_field(text: str, resources: Sequence[str]) -> Field:
    """Return a field from `NAME[:TYPE][:MODIFIER]…[=DEFAULT]`.

    Args:
        text: The field, such as `total:decimal:0..=0`.
        resources: Plurals of the resources that it can refer to.

    Raises:
        Refused: It can't be read, or says what can't be.
    """
    declaration, has_default, default = text.partition("=")
    name, *parts = declaration.split(":")
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise Refused(f"`{text}`: `{name}` is no name. Use lower-case words, such as `due_date`.")
    found = Field(name, "str")
    if parts and not _is_modifier(parts[0]):
        found = _typed(found, text, parts.pop(0), resources)
    for part in parts:
        found = _modified(found, text, part)
    if found.type == "relation" and found.optional and "cascade" not in parts:
        found = replace(found, on_delete="SET NULL")
    if found.on_delete == "SET NULL" and not found.optional:
        raise Refused(f"`{text}`: a field can only become empty if it is `:optional`.")
    found = _bounded(found, text)
    if found.unique and _possible(found) < FEWEST:
        raise Refused(f"`{text}`: too few values are possible. Leave `:unique` out.")
    _check_name(found, text)
    return replace(found, default=_default(found, text, default)) if has_default else found


def _is_modifier(part: str) -> bool:
    return part in {"optional", "unique", *_ON_DELETE} or bool(
        _BOUNDS.fullmatch(part) and part != ".."
    )


def _typed(found: Field, text: str, part: str, resources: Sequence[str]) -> Field:
    if part in TYPES:
        kind: Any = part
        return replace(found, type=kind)
    if "," in part:
        choices = tuple(part.split(","))
        for choice in choices:
            if not _VALUE.fullmatch(choice) or len(choice) > LONGEST_VALUE:
                raise Refused(
                    f"`{text}`: `{choice}` is no value. "
                    "Use lower-case words, as in `draft,in_review`."
                )
            if choices.count(choice) > 1:
                raise Refused(f"`{text}`: `{choice}` is there twice.")
        return replace(found, type="enum", choices=choices)
    target = part.replace("-", "_")
    if target in resources:
        name = found.name if found.name.endswith("_id") else f"{found.name}_id"
        return replace(found, name=name, type="relation", target=target)
    raise Refused(
        f"`{text}`: there is no type and no resource `{part}`. The types are {', '.join(TYPES)}, "
        f"and values with a comma, as in `draft,sent`. The resources are {', '.join(resources)}."
    )


def _modified(found: Field, text: str, part: str) -> Field:
    if part == "optional":
        return replace(found, optional=True)
    if part == "unique":
        if found.type in {"bool", "json", "text"}:
            raise Refused(f"`{text}`: values of type {found.type} can't be unique.")
        return replace(found, unique=True)
    if part in _ON_DELETE and found.type == "relation":
        return replace(found, on_delete=_ON_DELETE[part])
    if (bounds := _BOUNDS.fullmatch(part)) and part != "..":
        low, high = (
            None if bounds[side] is None else Decimal(bounds[side]) for side in ("low", "high")
        )
        return replace(found, low=low, high=high)
    if (size := _PRECISION.fullmatch(part)) and found.type == "decimal":
        precision, scale = int(size["precision"]), int(size["scale"])
        if not 1 <= precision <= MOST_DIGITS or scale > precision:
            raise Refused(f"`{text}`: a decimal has at most {MOST_DIGITS} digits, as in `:12.2`.")
        return replace(found, precision=precision, scale=scale)
    words = "optional, unique, bounds such as 1..40"
    if found.type == "relation":
        words += ", cascade, set-null"
    if found.type == "decimal":
        words += ", digits such as 12.2"
    raise Refused(f"`{text}`: `{part}` is none of {words}.")


def _bounded(found: Field, text: str) -> Field:
    """Return the field with both bounds, the given ones checked."""
    given = found.low is not None or found.high is not None
    if found.type in LENGTHS:
        least, most = 0, LONGEST_STR if found.type == "str" else LONGEST_TEXT
        low, high = LENGTHS[found.type]
    elif found.type == "int":
        (least, most), (low, high) = BIG_INT_BOUNDS, INT_BOUNDS
    elif found.type == "decimal":
        high_value = (Decimal(10) ** found.precision - 1).scaleb(-found.scale)
        return _with_bounds(found, text, -high_value, high_value, -high_value, high_value)
    elif given:
        raise Refused(f"`{text}`: values of type {found.type} have no bounds.")
    else:
        return found
    return _with_bounds(found, text, Decimal(least), Decimal(most), Decimal(low), Decimal(high))


def _with_bounds(
    found: Field, text: str, least: Decimal, most: Decimal, low: Decimal, high: Decimal
) -> Field:
    first = low if found.low is None else found.low
    last = high if found.high is None else found.high
    if found.low is None and found.high is not None and found.high < first:
        first = least
    whole = found.type != "decimal"
    if (
        not least <= first <= last <= most
        or (whole and (first % 1 or last % 1))
        or (last == 0 and whole and found.type in TEXTS)
    ):
        raise Refused(f"`{text}`: bounds are from {least:f} to {most:f}, the lower one first.")
    if first == last and found.type not in TEXTS:
        raise Refused(f"`{text}`: a number between equal bounds is always the same.")
    return replace(found, low=first, high=last)


def _possible(found: Field) -> int:
    """Return how many values of a field differ, at least; of texts, by their digits."""
    if found.low is None or found.high is None:
        return len(found.choices) or FEWEST
    if found.type in TEXTS:
        return FEWEST if found.high > 1 else 1
    return int((found.high - found.low).scaleb(found.scale if found.type == "decimal" else 0)) + 1


def _check_name(found: Field, text: str) -> None:
    name = found.name
    if name in _OWN:
        raise Refused(f"`{text}`: every resource has a column `{name}` already.")
    if name in _OF_LISTS:
        raise Refused(f"`{text}`: `{name}` is a query parameter of lists. Choose another name.")
    if name in _RESERVED_IN_SQL and found.type == "enum":
        raise Refused(
            f"`{text}`: `{name}` is a keyword of SQL, which checks the values of such a column. "
            "Choose another name."
        )
    if name in _RESERVED:
        raise Refused(f"`{text}`: `{name}` is a keyword of Python. Choose another name.")
    if _SECRET.fullmatch(name):
        raise Refused(
            f"`{text}`: `{name}` names a secret, which no response shows. Choose another name."
        )
    if found.type == "enum" and not _WORDS.fullmatch(name):
        raise Refused(
            f"`{text}`: a type is named after `{name}`; use words of two letters or more."
        )
    if name in _OF_LIBRARIES or name.startswith("model_"):
        raise Refused(f"`{text}`: `{name}` is an attribute of models. Choose another name.")


def _default(found: Field, text: str, value: str) -> Any:
    """Return the default, as a value of Python."""
    try:
        default = _converted(found, value)
    except (ValueError, InvalidOperation):
        raise Refused(f"`{text}`: `{value}` is no {found.type}.") from None
    if found.type in {"relation", "uuid", "email", "json"} or found.unique:
        raise Refused(f"`{text}`: such a field has no default.")
    if found.type == "enum" and default not in found.choices:
        raise Refused(f"`{text}`: the default is one of {', '.join(found.choices)}.")
    if found.low is not None and found.high is not None:
        size = len(default) if found.type in TEXTS else default
        if not found.low <= size <= found.high:
            raise Refused(f"`{text}`: the default is outside of {found.low:f}..{found.high:f}.")
    return default


def _converted(found: Field, value: str) -> Any:
    match found.type:
        case "int":
            return int(value)
        case "decimal":
            number = Decimal(value)
            if not number.is_finite() or number != round(number, found.scale):
                raise ValueError(value)
            return round(number, found.scale)
        case "bool":
            return (
                {"true": True, "false": False}.get(value) if value in {"true", "false"} else int("")
            )
        case "date":
            return date.fromisoformat(value)
        case "datetime":
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise ValueError(value)
            return moment
        case "uuid":
            return UUID(value)
        case _:
            return value
