"""The AsyncAPI document matches the registered messages."""

import json
from collections.abc import Callable
from typing import Any

from openapi_schema_validator import OAS31Validator, oas31_format_checker
from starlette.testclient import TestClient

from app.config import Settings
from app.infrastructure.realtime import connections
from app.infrastructure.realtime.asyncapi import CLOSE_CODES, asyncapi
from app.messages import MESSAGES
from tests.support.document import walk

Json = dict[str, Any]

DOCUMENT = asyncapi(MESSAGES, "/api/v1/ws/{channel}", "Names of channels.")
SCHEMAS: Json = DOCUMENT["components"]["schemas"]
DOCUMENTED: Json = DOCUMENT["components"]["messages"]
SENT = [model.__name__ for model in MESSAGES.received]
HEARD = [model.__name__ for model in MESSAGES.sent]


def resolved(reference: Json) -> Json:
    found: Json = DOCUMENT
    for key in reference["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return resolved(found) if "$ref" in found else found


def faults(name: str, value: object) -> list[str]:
    schema = {**SCHEMAS[name], "components": {"schemas": SCHEMAS}}
    validator = OAS31Validator(schema, format_checker=oas31_format_checker)
    return [error.message for error in validator.iter_errors(value)]


def example_of(schema: Json) -> Any:
    if "$ref" in schema:
        schema = resolved(schema)
    if "examples" in schema:
        return schema["examples"][0]
    if schema.get("type") == "array":
        return [example_of(schema["items"])]
    return {name: example_of(each) for name, each in schema["properties"].items()}


class TestDocument:
    def test_is_complete_and_its_references_resolve(self) -> None:
        assert DOCUMENT["asyncapi"] == "3.0.0"
        assert DOCUMENT.keys() >= {"info", "channels", "operations", "components"}
        assert DOCUMENT["info"]["title"]
        targets = [each for _, each in walk(DOCUMENT) if "$ref" in each]
        assert targets
        assert all(resolved(each) for each in targets)

    def test_lists_every_message_by_direction(self) -> None:
        operations = DOCUMENT["operations"]
        for name, models in (("receive", SENT), ("send", HEARD)):
            operation = operations[name]
            assert operation["action"] == name
            assert resolved(operation["channel"])["address"] == "/api/v1/ws/{channel}"
            assert [resolved(each)["name"] for each in operation["messages"]] == models
        assert DOCUMENTED.keys() == {*SENT, *HEARD}

    def test_describes_everything(self) -> None:
        assert [name for name, each in DOCUMENTED.items() if not each["summary"]] == []
        for name, schema in SCHEMAS.items():
            assert schema["description"], name
            assert [k for k, each in schema["properties"].items() if not description(each)] == []

    def test_lists_every_close_code(self) -> None:
        codes = {
            value
            for name, value in vars(connections).items()
            if name.isupper() and not name.startswith("_") and isinstance(value, int)
        }
        assert codes == CLOSE_CODES.keys()
        description = DOCUMENT["channels"]["channel"]["description"]
        assert all(str(code) in description for code in codes)


class TestMessages:
    def test_have_examples_that_validate(self) -> None:
        for name in (*SENT, *HEARD):
            assert faults(name, example_of(SCHEMAS[name])) == []
        for name in SENT:
            example = json.dumps(example_of(SCHEMAS[name]))
            assert type(MESSAGES.parse(example)).__name__ == name

    def test_from_clients_are_closed_and_bounded(self) -> None:
        for name in SENT:
            assert SCHEMAS[name]["additionalProperties"] is False
            for schema in SCHEMAS[name]["properties"].values():
                assert schema.keys() & {"const", "format", "maxLength"}


class TestServing:
    PATH = "/api/v1/ws/asyncapi.json"

    def test_follows_the_setting(
        self, client: TestClient, settings: Settings, use: Callable[..., None]
    ) -> None:
        response = client.get(self.PATH)
        assert response.status_code == 200
        assert response.json()["operations"] == DOCUMENT["operations"]

        http = settings.http.model_copy(update={"docs_enabled": False})
        use(settings=settings.model_copy(update={"http": http}))
        assert client.get(self.PATH).status_code == 404


def description(schema: Json) -> str:
    text: str = schema.get("description") or resolved(schema)["description"]
    return text
