"""Random resources, as arguments of `fastapi-senior resource`."""

from typing import Final

from hypothesis import strategies as st

_FIRST: Final = [
    "blue",
    "daily",
    "heavy",
    "inner",
    "late",
    "old",
    "public",
    "quick",
    "raw",
    "small",
]
_LAST: Final = [
    "boxes",
    "cities",
    "days",
    "entries",
    "fees",
    "keys",
    "leaves",
    "matches",
    "orders",
    "types",
]
_FIELDS: Final = [
    "amount",
    "at",
    "colour",
    "day",
    "index",
    "kind",
    "label",
    "name",
    "order",
    "rank",
    "size",
    "state",
    "text",
]
_BOUNDED: Final = {"str": (1, 1_000), "text": (0, 100_000), "int": (-(2**63), 2**63 - 1)}
_SORTED: Final = {"str", "int", "decimal", "date", "datetime", "email"}
_FILTERED: Final = {*_SORTED, "uuid", "bool", "enum", "relation"}
_SEARCHED: Final = {"str", "text", "email", "url"}
_UNIQUE: Final = {"str", "int", "decimal", "date", "datetime", "email", "url", "uuid"}
_DEFAULTS: Final = {"bool": "true", "date": "2026-11-21", "text": ""}
_TYPES: Final = (*sorted({*_FILTERED, *_SEARCHED, "json"}),)


@st.composite
def fields(draw: st.DrawFn, name: str, others: list[str]) -> tuple[str, str, str, bool]:
    """Draw a field: its column, its type, its declaration, whether it is optional."""
    kind = draw(st.sampled_from(_TYPES))
    declared, column, modifiers = kind, name, []
    if kind == "enum":
        values = st.lists(st.sampled_from(["one", "two", "three", "in-review", "done"]), min_size=2)
        declared = ",".join(draw(values.filter(lambda each: len({*each}) == len(each) < 6)))
    if kind == "relation":
        declared, column = draw(st.sampled_from(others)), f"{name}_id"
    if kind in _BOUNDED and draw(st.booleans()):
        low, high = sorted(draw(st.lists(st.integers(*_BOUNDED[kind]), min_size=2, max_size=2)))
        modifiers.append(f"{low}..{max(low + 100, high) if high < 900 else high}")
    is_optional = draw(st.booleans())
    if is_optional:
        modifiers.append("optional")
    if kind in _UNIQUE and not modifiers and draw(st.booleans()):
        modifiers.append("unique")
    default = ""
    if not modifiers and kind in _DEFAULTS and draw(st.booleans()):
        default = f"={_DEFAULTS[kind]}"
    return column, kind, ":".join((name, declared, *modifiers)) + default, is_optional


@st.composite
def resources(draw: st.DrawFn, name: str, earlier: list[str]) -> str:
    """Draw a resource of a name, which may refer to earlier ones."""
    names = draw(st.lists(st.sampled_from(_FIELDS), min_size=1, max_size=12, unique=True))
    drawn = [draw(fields(each, [*earlier, "users"])) for each in names]
    if all(kind == "relation" for _, kind, _, _ in drawn):
        drawn.append(("note", "str", "note", False))
    parts = [name, *(declaration for _, _, declaration, _ in drawn)]
    for option, kinds, optional in (
        ("--sort", _SORTED, False),
        ("--filter", _FILTERED, True),
        ("--search", _SEARCHED, True),
    ):
        fit = [c for c, kind, _, is_optional in drawn if kind in kinds and is_optional <= optional]
        if draw(st.booleans()) and fit:
            chosen = draw(st.lists(st.sampled_from(fit), min_size=1, unique=True))
            parts += [option, ",".join(chosen)]
    counted = [
        column for column, kind, _, is_optional in drawn if kind == "enum" and not is_optional
    ]
    flags: set[str] = draw(st.sets(st.sampled_from(["--export", "--public"])))
    parts += sorted(flags)
    if draw(st.booleans()) and counted and "--public" not in flags:
        parts += ["--count-by", counted[0]]
    return " ".join(parts)


@st.composite
def projects(draw: st.DrawFn, size: int) -> list[str]:
    """Draw the resources of a project."""
    pairs = st.tuples(st.sampled_from(_FIRST), st.sampled_from(_LAST)).map("-".join)
    names = draw(st.lists(pairs, min_size=size, max_size=size, unique=True))
    return [draw(resources(name, names[:position])) for position, name in enumerate(names)]
