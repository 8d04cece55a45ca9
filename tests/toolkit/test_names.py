"""Names of resources, derived from a word."""

import pytest

from fastapi_senior.errors import Refused
from fastapi_senior.resource.names import LONGEST, Names


@pytest.mark.parametrize(
    ("given", "plural", "singular", "entity", "variable"),
    [
        ("invoices", "invoices", "invoice", "Invoice", "invoice"),
        ("invoice", "invoices", "invoice", "Invoice", "invoice"),
        ("purchase-orders", "purchase_orders", "purchase_order", "PurchaseOrder", "purchase_order"),
        ("categories", "categories", "category", "Category", "category"),
        ("people", "people", "person", "Person", "person"),
        ("addresses", "addresses", "address", "Address", "address"),
        ("classes", "classes", "class", "Class", "class_"),
        ("types", "types", "type", "Type", "type_"),
        ("urls", "urls", "url", "Url", "url"),
        ("api-tokens", "api_tokens", "api_token", "ApiToken", "api_token"),
        ("metadata", "metadata", "metadatum", "Metadatum", "metadatum"),
    ],
)
def test_derives_all_forms(
    given: str, plural: str, singular: str, entity: str, variable: str
) -> None:
    names = Names.of(given)
    assert (names.plural, names.singular) == (plural, singular)
    assert (names.entity, names.variable) == (entity, variable)
    assert names.path == plural.replace("_", "-")


def test_takes_a_singular_that_cannot_be_derived() -> None:
    names = Names.of("series", "series_entry")
    assert (names.plural, names.entity, names.a) == ("series", "SeriesEntry", "a series entry")


@pytest.mark.parametrize("name", ["", "API", "APIs", "Ünvoices", "2things", "a", "a__b", "x-", "'"])
def test_refuses_what_is_no_name(name: str) -> None:
    with pytest.raises(Refused, match=r"is no name\. Use lower-case words"):
        Names.of(name)


@pytest.mark.parametrize("name", ["series", "sheep", "news"])
def test_refuses_a_plural_like_its_singular(name: str) -> None:
    with pytest.raises(Refused, match=f"--singular`, such as `{name}_entry`"):
        Names.of(name)


@pytest.mark.parametrize("name", ["none", "exceptions", "value-errors", "warning"])
def test_refuses_builtins(name: str) -> None:
    with pytest.raises(Refused, match=r"has a meaning in Python\. Choose a name of two words"):
        Names.of(name)


@pytest.mark.parametrize("name", ["auth", "jobs", "ws", "health"])
def test_refuses_parts_of_the_service(name: str) -> None:
    with pytest.raises(Refused, match="is a part of the service"):
        Names.of(name, "thing")


def test_refuses_long_names() -> None:
    assert Names.of("b" * (LONGEST - 1) + "s").plural
    for plural, singular in (("b" * LONGEST + "s", None), ("things", "b" * (LONGEST + 1))):
        with pytest.raises(Refused, match=f"at most {LONGEST} characters"):
            Names.of(plural, singular)
