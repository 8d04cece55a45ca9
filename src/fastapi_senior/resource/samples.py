"""Values of fields for the tests of a resource, as expressions of Python."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from fastapi_senior.resource.fields import counts, is_range, literal, number, range_names, words
from fastapi_senior.resource.specification import TEXTS, Field, Specification

_NOON: Final = "datetime(2026, 11, 21, 12, {}, tzinfo=UTC)"
_MANY: Final = frozenset({"str", "text", "email", "url", "date", "datetime", "uuid"})
MANY: Final = 10**9
"""Of so many values, some random ones differ."""

_ID: Final = "01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e1{}"


def json_value(field: Field, number_: int) -> Any:
    """Return a value as JSON has it; other numbers give other values, as far as there are some."""
    match field.type:
        case "str" | "text":
            return _text(field, number_)
        case "int":
            return int(_low(field)) + number_ if _width(field) > number_ else int(_high(field))
        case "decimal":
            step = Decimal(1).scaleb(-field.scale)
            value = min(_low(field) + number_ * step, _high(field))
            if _low(field) <= 0 <= _high(field) - 3:
                value = Decimal(number_)
            return f"{value:.{field.scale}f}"
        case "bool":
            return number_ % 2 == 0
        case "enum":
            return field.choices[number_ % len(field.choices)]
        case "date":
            return f"2026-11-{21 + number_}"
        case "datetime":
            return f"2026-11-21T12:{number_:02}:00Z"
        case "email":
            return f"ada{number_}@example.com"
        case "url":
            return f"https://example.com/{number_}"
        case "json":
            return {"number": number_}
        case _:
            return _ID.format(number_)


def row_value(field: Field, number_: int) -> str:
    """Return an expression for the same value in a row."""
    value = json_value(field, number_)
    match field.type:
        case "decimal":
            return f'Decimal("{value}")'
        case "date":
            year, month, day = map(int, value.split("-"))
            return f"date({year}, {month}, {day})"
        case "datetime":
            return _NOON.format(number_)
        case "uuid":
            return f'UUID("{value}")'
        case _:
            return literal(value)


def fresh_json(field: Field) -> str:
    """Return an expression for a value in a request; if unique, it makes another each time."""
    if field.unique:
        return _unique(field, in_row=False)
    if _is_wide(field):
        return f'f"{words(field.name).capitalize()} {{new_id().hex[-6:]}}"'
    if field.type == "enum":
        return literal(field.choices[1 % len(field.choices)])
    return literal(json_value(field, 0))


def fresh_row(field: Field) -> str:
    """Return an expression for the value in a new row."""
    if field.unique:
        return (
            "Use(new_id)" if field.type == "uuid" else f"Use(lambda: {_unique(field, in_row=True)})"
        )
    if _is_wide(field):
        return f"Use(lambda: {fresh_json(field)})"
    if field.type == "enum":
        return literal(field.default or field.choices[0])
    if field.type == "json":
        return f"Use(lambda: {row_value(field, 0)})"
    return row_value(field, 0)


def _unique(field: Field, *, in_row: bool) -> str:
    match field.type:
        case "int" | "decimal":
            step = _possible(field)
            some = "new_id().int" if step > MANY else "next(_NUMBERS)"
            # The first ones are the values that tests state.
            some = f"(10 + {some} % {number(step - 10)})"
            if field.type == "int":
                return f"{number(_low(field))} + {some}"
            amount = f"Decimal({some}).scaleb(-{field.scale}) + {number(_low(field))}"
            return amount if in_row else f"str({amount})"
        case "email":
            return 'f"{new_id().hex}@example.com"'
        case "url":
            return 'f"https://example.com/{new_id().hex}"'
        case "uuid":
            return "new_id()" if in_row else "str(new_id())"
        case "date":
            day = "date.fromordinal(700_000 + new_id().int % 50_000)"
            return day if in_row else f"{day}.isoformat()"
        case "datetime":
            moment = "datetime.fromtimestamp(new_id().int % 2_000_000_000, UTC)"
            return moment if in_row else f'{moment}.isoformat().replace("+00:00", "Z")'
        case _:
            least, most = int(_low(field)), int(_high(field))
            if least <= len(words(field.name)) + 13 <= most:
                return f'f"{words(field.name).capitalize()} {{new_id().hex[-12:]}}"'
            length = max(least, min(most, 32))
            if length >= 12:  # noqa: PLR2004
                return f'new_id().hex[-12:].rjust({length}, "0")'
            return f'f"{{next(_NUMBERS) % 16**{length}:0{length}x}}"'


def counted(resource: Specification) -> bool:
    """Tell whether unique values have to be counted, because random ones would meet."""
    made = (_unique(each, in_row=True) for each in resource.fields if each.unique)
    return any("_NUMBERS" in each for each in made)


def bad_values(field: Field) -> Iterator[str]:
    """Yield expressions for values that requests are refused for."""
    if field.type in {"str", "text"}:
        if _low(field):
            yield literal("")
            yield r'" \u2003 "'
            if field.type == "str":
                yield r'"\ufeff\u200b"'
        yield f'"x" * {number(_high(field) + 1)}'
        yield r'"two\nlines"' if field.type == "str" else r'"\x00"'
        yield "42"
    elif field.type in {"int", "decimal"}:
        for bound in (_low(field) - 1, _high(field) + 1):
            yield literal(f"{bound:f}") if field.type == "decimal" else number(bound)
        yield literal("many")
        if field.type == "int":
            yield from ("1.5", '"1"', "True")
        elif field.scale < 6:  # noqa: PLR2004
            yield literal(
                f"{_low(field):f}" + ("" if "." in f"{_low(field):f}" else ".") + "0000001"
            )
    elif field.type == "enum":
        yield from (literal("unknown"), "42")
    elif field.type == "bool":
        yield from (literal("maybe"), "2")
    elif field.type == "date":
        yield from (literal("2026-02-30"), literal("2026-11-21T10:30:00Z"), "0")
    elif field.type == "datetime":
        yield from (literal("noon"), literal("2026-11-21T12:00:00"), "0")
    elif field.type == "email":
        yield from (literal("ada"), literal("Ada <ada@example.com>"), "42")
    elif field.type == "url":
        yield from (literal("example.com"), literal("javascript:alert(1)"), "42")
    elif field.type == "json":
        yield from ("[]", literal("{}"))
    else:
        yield from (literal("7"), "42")
    if not field.optional:
        yield "None"


def changes(resource: Specification) -> dict[str, str]:
    """Return expressions for other values than those of a new row, by field."""
    found = {}
    for field in resource.fields:
        if field.type == "relation" or json_value(field, 0) == json_value(field, 1):
            continue
        if field.type == "enum":
            value: Any = field.choices[-1] if len(field.choices) > 2 else field.choices[0]  # noqa: PLR2004
        else:
            value = json_value(field, 1)
        found[field.name] = literal(value)
    return found


def edits(resource: Specification) -> list[str]:
    """Return four different values of a field, if one has so many; begin with its name."""
    for field in resource.fields:
        wide = field.type in {"int", "decimal"} and _width(field) > 4  # noqa: PLR2004
        if (field.type in _MANY or wide) and not field.unique and _fits(field):
            return [field.name, *(literal(json_value(field, each)) for each in (2, 3, 4, 5))]
    return []


def ordered(resource: Specification) -> list[tuple[str, str]]:
    """Return three values of rows for each order of lists: the second, the third, the first."""
    return [
        (literal(each.name), f"[{', '.join(row_value(each, number_) for number_ in (2, 3, 1))}]")
        for each in resource.sortable
    ]


def filters(resource: Specification) -> Iterator[tuple[str, str, str]]:
    """Yield a query, fields of rows that match, and fields of others, for each filter."""
    for field in resource.filterable:
        if field.type == "relation" or field.unique:
            continue
        if not is_range(field):
            first, second = (1, 0) if field.type == "enum" else (0, 1)
            if field.type == "enum" and len(field.choices) > 2:  # noqa: PLR2004
                second = 2
            query = {field.name: json_value(field, first)}
            if isinstance(query[field.name], bool):
                query[field.name] = "true"
            yield _dict(query), _row(field, first), _row(field, second)
            continue
        if json_value(field, 1) == json_value(field, 2):
            continue
        low, high = range_names(field)
        yield _dict({low: json_value(field, 2)}), _row(field, 2), _row(field, 1)
        last = 2 if high.endswith("before") else 1
        yield _dict({high: json_value(field, last)}), _row(field, 1), _row(field, 2)


def bad_filters(resource: Specification) -> Iterator[tuple[str, str]]:
    """Yield parameters with values that lists refuse."""
    for field in resource.filterable:
        names = range_names(field) if is_range(field) else (field.name,)
        for name in names:
            if field.type != "str":
                yield name, "unknown"
            else:
                yield name, "" if _low(field) else "x" * int(_high(field) + 1)


def required(resource: Specification) -> list[str]:
    """Return the names of the fields that a request must have."""
    return [each.name for each in resource.fields if each.required]


def defaults(resource: Specification) -> list[str]:
    """Return entries of a dictionary: the values of fields that a request leaves out."""
    return [
        f"{literal(each.name)}: {literal(_json_of(each, each.default))}"
        for each in resource.fields
        if not each.required
    ]


def _json_of(field: Field, value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:.{field.scale}f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def numbers(resource: Specification) -> str:
    """Return entries of a dictionary: two rows with the first value, one with the last."""
    names = counts(resource)
    found = dict.fromkeys(names, 0) | {names[0]: 2, names[-1]: 1}
    return ", ".join(f"{literal(name)}: {number_}" for name, number_ in found.items())


def texts(resource: Specification) -> list[str]:
    """Return the names of the fields that take any text."""
    return [
        each.name
        for each in resource.fields
        if each.type in {"str", "text"} and _low(each) <= 20 and _high(each) >= 60  # noqa: PLR2004
    ]


def searched_texts(resource: Specification) -> list[str]:
    """Return the names of the searched fields that hold the texts of the tests."""
    return [
        each.name
        for each in resource.searchable
        if each.type in TEXTS and _high_text(each) >= 40  # noqa: PLR2004
    ]


def _high_text(field: Field) -> Decimal:
    return field.high if field.high is not None else Decimal(254)


def _fits(field: Field) -> bool:
    return field.type not in {"str", "text"} or _high(field) >= 1


def _is_wide(field: Field) -> bool:
    """Tell whether a field has room for its name and six letters, or needs no more."""
    length = len(words(field.name)) + 7
    return field.type in {"str", "text"} and _low(field) <= length <= _high(field)


def _row(field: Field, number_: int) -> str:
    return f'{{"{field.name}": {row_value(field, number_)}}}'


def _dict(values: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in values.items()) + "}"


def _text(field: Field, number_: int) -> str:
    least, most = int(_low(field)), int(_high(field))
    text = f"{words(field.name).capitalize()} {number_}"
    if most < len(text):
        text = chr(ord("p") + number_) * max(1, min(most, 3))
    return text + "x" * (least - len(text))


def _possible(field: Field) -> Decimal:
    """Return the number of values of a number."""
    return _width(field).scaleb(field.scale if field.type == "decimal" else 0) + 1


def _low(field: Field) -> Decimal:
    return field.low if field.low is not None else Decimal(0)


def _high(field: Field) -> Decimal:
    return field.high if field.high is not None else Decimal(0)


def _width(field: Field) -> Decimal:
    return _high(field) - _low(field)
