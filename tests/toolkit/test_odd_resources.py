"""Resources that could not work are refused, with a sentence."""

from typing import Any

import pytest

from fastapi_senior.errors import Refused
from fastapi_senior.resource.fields import constraint_name, indexes, literal
from fastapi_senior.resource.names import Names
from fastapi_senior.resource.publication import published
from fastapi_senior.resource.specification import Specification, parse_field


def resource(*fields: str, **options: Any) -> Specification:  # noqa: ANN401 - of any type
    known = ["users", "things"]
    parsed = tuple(parse_field(each, known) for each in fields)
    return Specification(Names.of("things"), parsed, **options)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("token", "names a secret"),
        ("key:uuid", "names a secret"),
        ("l:one,two", "two letters"),
        ("kind:one,two:unique", "too few values"),
        ("code:str:1..1:unique", "too few values"),
        ("number:int:1..49:unique", "too few values"),
        ("number:int:7..7", "always the same"),
        ("parent:things", "Add `:optional`"),
    ],
)
def test_fields_that_cannot_work_are_refused(field: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        resource("name", field)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"count_by": "kind"}, "`total`"),
        ({"export": True, "export_job": True, "owned": False}, "for owners"),
        ({"count_by": "state", "owned": False}, "of an owner"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        resource("kind:total,part", "state:new,old", **options)


def test_long_names_are_short_enough_and_differ() -> None:
    names = {constraint_name("ix", "t" * 40, "a" * 40, last) for last in ("b", "c")}
    assert len(names) == 2
    assert all(len(name) <= 63 and name.startswith(f"ix_{'t' * 40}_") for name in names)


def test_no_index_repeats_the_start_of_another() -> None:
    found = resource("parent:things:optional:unique", "name", filter=("parent_id",), owned=False)
    assert [columns for _, columns in indexes(found) if columns[0] == "parent_id"] == [
        ("parent_id", "created_at", "id")
    ]


def test_readers_of_a_public_resource_know_no_owner() -> None:
    text = '''
async def get(self, owner_id: UUID, thing_id: ThingId) -> Thing | None:
    """Retrieve one of your things."""
    return await self.one(_BY_ID, Thing, thing_id=thing_id, owner_id=owner_id)

async def lock_owned(self, owner_id: UUID) -> None:
    """Lock."""
'''
    assert published(text, Names.of("things")) == text.replace("owner_id: UUID, t", "t").replace(
        ", owner_id=owner_id", ""
    ).replace("your", "the")


def test_long_repetitions_are_products() -> None:
    assert literal("Note" + "x" * 50) == '"Note" + "x" * 50'
