"""Fields and options of a resource, on the command line and in files."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fastapi_senior.errors import Refused
from fastapi_senior.resource.document import load
from fastapi_senior.resource.names import Names
from fastapi_senior.resource.specification import Specification, parse_field

TABLES = ["users", "items", "purchase_orders"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("title", {"name": "title", "type": "str", "low": 1, "high": 200}),
        ("title:1..40", {"type": "str", "low": 1, "high": 40}),
        ("note:text=", {"type": "text", "default": ""}),
        ("total:decimal:8.3:0..", {"precision": 8, "scale": 3, "low": 0}),
        ("count:int:-5..5=1", {"low": -5, "high": 5, "default": 1}),
        ("paid:bool=false", {"type": "bool", "default": False}),
        ("status:draft,sent=draft", {"type": "enum", "choices": ("draft", "sent")}),
        ("item:items", {"name": "item_id", "target": "items", "on_delete": "CASCADE"}),
        ("item_id:items:optional", {"name": "item_id", "on_delete": "SET NULL"}),
        ("order:purchase-orders:optional:cascade", {"on_delete": "CASCADE", "optional": True}),
        ("code:str:unique:optional", {"unique": True, "optional": True}),
    ],
)
def test_parses_fields(text: str, expected: dict[str, Any]) -> None:
    field = parse_field(text, TABLES)
    assert {name: getattr(field, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Title", "is no name"),
        ("title:varchar", "there is no type and no resource `varchar`. The types are str, text"),
        ("order:orders", "there is no type and no resource `orders`"),
        ("version:int", "every resource has a column `version` already"),
        ("id", "every resource has a column `id` already"),
        ("sort", "is a query parameter of lists"),
        ("metadata:json", "is an attribute of models. Choose another name"),
        ("model_name", "is an attribute of models"),
        ("class", "is a keyword of Python"),
        ("order:up,down", "is a keyword of SQL"),
        ("count:int:5..1", "the lower one first"),
        ("paid:bool:1..2", "have no bounds"),
        ("paid:bool=maybe", "is no bool"),
        ("status:draft,sent=gone", "the default is one of draft, sent"),
        ("status:draft,draft", "is there twice"),
        ("status:Draft,sent", "is no value"),
        ("count:int:1..5=9", "is outside of 1..5"),
        ("code:unique=x", "has no default"),
        ("note:text:unique", "can't be unique"),
        ("item:items:set-null", "if it is `:optional`"),
        ("b" * 41, "is no name"),
    ],
)
def test_refuses_fields(text: str, sentence: str) -> None:
    with pytest.raises(Refused) as error:
        parse_field(text, TABLES)
    assert sentence in str(error.value)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("fields", "options", "sentence"),
    [
        ([], {}, "A resource needs a field"),
        (["a:users:optional"], {}, "besides optional relations"),
        (["a", "a"], {}, "There are two fields `a`. Rename one."),
        (["a"], {"search": ("b",)}, "--search: there is no field `b`. The fields are a."),
        (["a:int"], {"search": ("a",)}, "--search: `a` is of type int"),
        (["a:text"], {"sort": ("a",)}, "--sort: `a` is of type text"),
        (["a:optional"], {"sort": ("a",)}, "Give it a default instead of `:optional`"),
        (["a", "b"], {"filter": ("a", "a")}, "--filter: `a` is there twice."),
        (["a"], {"count_by": "a"}, "--count-by: `a` is of type str"),
        (["kind:b,c:optional"], {"count_by": "kind"}, "`--count-by` needs a value in each row"),
        (["a"], {"export_job": True}, "Pass both."),
    ],
)
def test_refuses_contradictions(fields: list[str], options: dict[str, Any], sentence: str) -> None:
    parsed = tuple(parse_field(each, TABLES) for each in fields)
    with pytest.raises(Refused) as error:
        Specification(Names.of("things"), parsed, **options)
    assert sentence in str(error.value)


WHOLE = """\
resource: series
singular: series_entry
description: Entries.
public: true
fields:
  title: {type: "str:1..200", description: Its title., example: Note G}
  note: text=
  total: {type: decimal, example: 12.5}
  due: {type: date, example: 2026-12-01}
  plain:
search: [title, note]
sort: [title]
filter: [title]
export: true
quota: 50
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "spec.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_reads_files(tmp_path: Path) -> None:
    found = load(written(tmp_path, WHOLE), TABLES)
    assert found.names == Names("series", "series_entry")
    assert (found.owned, found.quota, found.description) == (False, 50, "Entries.")
    assert (found.search, found.sort, found.export) == (("title", "note"), ("title",), True)
    title = found["title"]
    assert (title.high, title.description, title.example) == (Decimal(200), "Its title.", "Note G")
    assert found["note"].default == ""
    assert (found["total"].example, found["due"].example) == ("12.50", "2026-12-01")
    assert found["plain"].type == "str"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("quota", "qouta", "a specification has no `qouta`. It has `resource`, `singular`"),
        ("example: Note G", "exmaple: x", "field `title` has no `exmaple`"),
        ("resource: series\n", "", "`resource` is missing"),
        ("public: true", "public: true\nowned: true", "`owned` and `public` are opposites"),
        ("public: true", "public: maybe", "`public` of a specification is `true` or `false`"),
        ("quota: 50", "quota: many", "`quota` of a specification is a number"),
        ("quota: 50", "quota: true", "`quota` of a specification is a number"),
        ("quota: 50", "quota: 0", "`quota` is a number from 1 to"),
        ("[title, note]", "title", "`search` of a specification is a list of fields"),
        ('"str:1..200"', "5", "`type` of field `title` is a text in quotes"),
        ("text=", "varchar", "there is no type and no resource `varchar`"),
        ("plain:", "no:", "`False` is no name"),
        ("plain:", "note:", "`note` is there twice, in what starts at line 6"),
        ("12.5}", "much}", "`much` is no decimal"),
        ("Note G", "[1]", "`[1]` is no str"),
        ("  plain:", "  plain: [", "is no YAML"),
        ("series_entry", "Entry", "`Entry` is no name"),
        ("fields:", "fields: []\nx:", "`fields` of a specification is fields by their names"),
    ],
)
def test_refuses_files(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in WHOLE
    file = written(tmp_path, WHOLE.replace(old, new, 1))
    with pytest.raises(Refused) as error:
        load(file, TABLES)
    assert str(error.value).startswith(str(file))
    assert sentence in str(error.value)


def test_refuses_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="can't be read: No such file"):
        load(tmp_path / "none.yaml", TABLES)
    with pytest.raises(Refused, match="can't be read: Is a directory"):
        load(tmp_path, TABLES)
    file = tmp_path / "spec.yaml"
    file.write_bytes(b"resource: \xff")
    with pytest.raises(Refused, match="is no text in UTF-8"):
        load(file, TABLES)
    file.write_text("- a\n", encoding="utf-8")
    with pytest.raises(Refused, match="a specification is a mapping"):
        load(file, TABLES)
