"""Rules of the OpenAPI document; each class names its rule by id."""

import keyword
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator
from sqlalchemy import event
from starlette.testclient import TestClient

from app.domain.permissions import PERMISSIONS, ROLES
from tests.support.arrange import ArrangeSync, bearer
from tests.support.document import (
    DOCUMENT,
    OPERATIONS,
    PROBLEM,
    SCHEMAS,
    Json,
    Operation,
    documenting,
    example_of,
    faults,
    referred,
    resolved,
    walk,
)

PROBES = {"/health", "/live", "/ready", "/.well-known/jwks.json"}
SECURED = [operation for operation in OPERATIONS if operation.scopes]
OPEN = [operation for operation in OPERATIONS if not operation.scopes]
LISTS = [operation for operation in OPERATIONS if operation.id.startswith("list_")]
MODELS = {schema["title"]: schema for _, schema in walk(DOCUMENT) if "properties" in schema}
PROPERTIES = {
    f"{name}.{field}": schema
    for name, model in MODELS.items()
    for field, schema in model["properties"].items()
}
PARAMETERS = {
    f"{operation}.{parameter['name']}": parameter
    for operation in OPERATIONS
    for parameter in operation.parameters
}
INPUTS = {
    name: schema
    for name, schema in MODELS.items()
    if name.endswith(("Create", "Update", "Request"))
}
OUTPUTS = {name: schema for name, schema in MODELS.items() if name not in INPUTS}


def references(thing: object) -> set[str]:
    """Return the names of all schemas that a part of the document refers to."""
    names = {each["$ref"].rpartition("/")[2] for _, each in walk(thing) if "$ref" in each}
    for name in names & set(SCHEMAS):
        names |= references(SCHEMAS[name])
    return names & set(SCHEMAS)


def bounded(schema: Json) -> bool:
    """Return whether values of a schema are bounded."""
    schema = resolved(schema)
    if "anyOf" in schema:
        return all(bounded(each) for each in schema["anyOf"])
    if schema.keys() & {"enum", "const"} or schema["type"] in {"boolean", "null"}:
        return True
    if schema["type"] == "string":
        return "maxLength" in schema or schema.get("format") in {"uuid", "date", "date-time"}
    if schema["type"] == "array":
        return "maxItems" in schema and bounded(schema["items"])
    if schema["type"] == "object":
        others = schema["additionalProperties"]
        if others is not False:
            return "maxProperties" in schema and bounded(others)
        return all(bounded(each) for each in schema["properties"].values())
    return {"minimum", "maximum"} <= schema.keys()


class TestMetadata:
    """APP04."""

    def test_is_complete(self) -> None:
        info = DOCUMENT["info"]
        assert info["title"]
        assert info["description"]
        assert re.fullmatch(r"\d+\.\d+\.\d+.*", info["version"])
        assert info["contact"].keys() == {"name", "email"}
        assert info["license"].keys() == {"name", "identifier"}


class TestPaths:
    """APP05."""

    def test_are_versioned_except_for_probes_and_keys(self) -> None:
        outside = {path for path in DOCUMENT["paths"] if not path.startswith("/api/v1/")}
        assert outside == PROBES


class TestMethods:
    """API01."""

    def test_are_those_of_http(self) -> None:
        methods = {operation.method for operation in OPERATIONS}
        assert methods <= {"get", "post", "put", "patch", "delete"}

    @pytest.mark.parametrize("method", ["get", "delete"])
    def test_have_no_body_without_semantics(self, method: str) -> None:
        assert [each.id for each in OPERATIONS if each.method == method and each.body] == []

    @pytest.mark.parametrize("method", ["put", "patch"])
    def test_have_a_body_if_they_update(self, method: str) -> None:
        assert [each.id for each in OPERATIONS if each.method == method and not each.body] == []

    @pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.method == "get"])
    def test_change_nothing_by_get(
        self, client: TestClient, app: FastAPI, arrange: ArrangeSync, operation: Operation
    ) -> None:
        account = arrange.account(role="admin")
        statements: list[str] = []

        def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
            statements.append(statement.split(maxsplit=1)[0].upper())

        engine = app.state.resources.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        client.request(**operation.request(), headers=account.headers)
        event.remove(engine, "before_cursor_execute", note)
        assert set(statements) <= {"SELECT"}


class TestStatuses:
    """API02."""

    def test_of_success_is_one_for_each_operation(self) -> None:
        successes = {
            # Except 206, a part of the content of 200.
            each.id: [status for status in each.responses if status < 300 and status != 206]
            for each in OPERATIONS
        }
        assert {name: found for name, found in successes.items() if len(found) != 1} == {}

    def test_is_201_with_a_location_for_new_resources(self) -> None:
        created = documenting(201)
        creators = {each.id for each in OPERATIONS if each.id.startswith(("create_", "register_"))}
        assert creators <= {each.id for each in created}
        for operation in created:
            assert operation.method == "post"
            assert operation.responses[201]["headers"]["Location"]["required"]

    def test_is_204_without_a_body(self) -> None:
        empty = [each for each in OPERATIONS if "content" not in each.responses[each.success]]
        assert empty == documenting(204)
        deletions = {each.id for each in OPERATIONS if each.method == "delete"}
        assert deletions <= {each.id for each in empty}


class TestTypes:
    """API03."""

    def test_are_models_in_json_responses(self) -> None:
        for operation in OPERATIONS:
            content = operation.responses[operation.success].get("content", {})
            if "application/json" in content:
                schema = content["application/json"]["schema"]
                assert schema["$ref"].startswith("#/components/schemas/"), operation.id

    def test_are_models_in_request_bodies(self) -> None:
        for operation in OPERATIONS:
            content = operation.definition.get("requestBody", {}).get("content", {})
            for media_type, body in content.items():
                assert resolved(body["schema"])["title"] in INPUTS, operation.id
                # What the framework reads has its model among the components.
                assert media_type == "multipart/form-data" or "$ref" in body["schema"], operation.id

    def test_are_known_for_every_field_and_parameter(self) -> None:
        kinds = {"$ref", "anyOf", "const", "enum", "oneOf", "type"}
        schemas = PROPERTIES | {name: each["schema"] for name, each in PARAMETERS.items()}
        assert [name for name, schema in schemas.items() if not schema.keys() & kinds] == []

    def test_are_known_for_fields_of_models(self) -> None:
        assert [
            path for path, each in walk(SCHEMAS) if each.get("additionalProperties") is True
        ] == []
        assert [path for path, each in walk(SCHEMAS) if each.get("items") == {}] == []


class TestOperationIds:
    """API04."""

    def test_are_unique(self) -> None:
        assert len({operation.id for operation in OPERATIONS}) == len(OPERATIONS)
        names = re.compile(r"[a-z]+(_[a-z]+)+")
        assert [each.id for each in OPERATIONS if not names.fullmatch(each.id)] == []

    def test_do_not_depend_on_the_path(self) -> None:
        assert [
            each.id for each in OPERATIONS if re.search(r"api_v\d|_(get|post|put)$", each.id)
        ] == []


class TestDescriptions:
    """API05."""

    def test_cover_every_used_tag(self) -> None:
        described = {tag["name"] for tag in DOCUMENT["tags"] if tag["description"]}
        assert {tag for each in OPERATIONS for tag in each.definition["tags"]} == described

    def test_summarize_every_operation(self) -> None:
        summaries = [each.definition["summary"] for each in OPERATIONS]
        assert all(0 < len(summary) <= 50 for summary in summaries)
        assert len(set(summaries)) == len(OPERATIONS)

    def test_describe_everything(self) -> None:
        headers = {
            f"{operation}.{name}": header
            for operation in OPERATIONS
            for response in operation.responses.values()
            for name, header in response.get("headers", {}).items()
        }
        schemes = DOCUMENT["components"]["securitySchemes"]
        operations = {each.id: each.definition for each in OPERATIONS}
        described = operations | PARAMETERS | MODELS | PROPERTIES | headers | schemes
        assert [name for name, each in described.items() if not each.get("description")] == []
        assert schemes["AccessToken"]["flows"]["password"]["scopes"] == PERMISSIONS

    def test_describe_every_response(self) -> None:
        for operation in OPERATIONS:
            for response in operation.responses.values():
                assert response["description"] not in {"", "Successful Response"}, operation.id
            success = operation.responses[operation.success]
            if model := success.get("content", {}).get("application/json"):
                assert success["description"] == resolved(model["schema"])["description"]
            elif operation.success == 204:
                assert success["description"] == "No content."

    @pytest.mark.parametrize("name", MODELS)
    def test_give_every_model_a_valid_example(self, name: str) -> None:
        example = example_of(MODELS[name])
        assert example.keys() == MODELS[name]["properties"].keys() or "examples" in MODELS[name]
        assert faults(MODELS[name], example) == []

    def test_give_every_parameter_and_field_valid_examples(self) -> None:
        schemas = {name: each["schema"] for name, each in PARAMETERS.items()}
        assert [name for name, schema in schemas.items() if not schema.get("examples")] == []
        wrong = {
            f"{name} {example}": faults(schema, example)
            for name, schema in (schemas | PROPERTIES).items()
            for example in schema.get("examples", ())
        }
        assert {name: each for name, each in wrong.items() if each} == {}

    def test_give_every_problem_a_valid_example(self) -> None:
        for response in DOCUMENT["components"]["responses"].values():
            content = response["content"][PROBLEM]
            for example in content["examples"].values():
                assert faults(content["schema"], example["value"]) == []

    @pytest.mark.parametrize("operation", OPERATIONS, ids=str)
    def test_give_every_operation_a_valid_request(
        self, client: TestClient, arrange: ArrangeSync, operation: Operation
    ) -> None:
        account = arrange.account(role="admin")
        ids = referred(operation.path, arrange.a_row_of_each_table(account))
        as_it_is = {**account.headers, "Accept-Encoding": "identity"}
        response = client.request(**operation.request(**ids), headers=as_it_is)
        assert response.status_code not in {400, 422}
        assert response.status_code in operation.responses
        if "json" in response.headers.get("Content-Type", ""):
            # A server adds `Date`, production `Strict-Transport-Security` (ADR 0012).
            assert len(response.headers) <= 10 - 2


class TestBounds:
    """API06."""

    def test_limit_every_parameter_and_body(self) -> None:
        schemas = {name: each["schema"] for name, each in PARAMETERS.items()}
        schemas |= {each.id: each.body[1] for each in OPERATIONS if each.body}
        assert [name for name, schema in schemas.items() if not bounded(schema)] == []


class TestIds:
    """API08."""

    def test_are_uuids_everywhere(self) -> None:
        # `client_id` is OAuth's, and ignored; a request's id may be of the client's making.
        named = {
            name: schema
            for name, schema in PROPERTIES.items()
            if re.search(r"[._]id$", name) and not name.endswith((".client_id", ".request_id"))
        }
        assert named
        named |= {name: each["schema"] for name, each in PARAMETERS.items() if each["in"] == "path"}
        forms = {name: schema.get("anyOf", [schema])[0] for name, schema in named.items()}
        assert [name for name, form in forms.items() if form.get("format") != "uuid"] == []
        versions = {UUID(schema["examples"][0]).version for schema in named.values()}
        assert versions == {7}


class TestLists:
    """API09."""

    def test_are_pages(self) -> None:
        assert LISTS
        for operation in OPERATIONS:
            for media_type in operation.responses[operation.success].get("content", {}).values():
                schema = resolved(media_type["schema"])
                assert schema.get("type") != "array", operation.id
                fields = schema.get("properties", {})
                assert ("next_cursor" in fields) is (operation in LISTS), operation.id
                if operation in LISTS:
                    assert fields.keys() == {"items", "next_cursor"}, operation.id
                    assert fields["items"]["items"].keys() == {"$ref"}

    def test_take_a_limit_and_a_cursor(self) -> None:
        for operation in LISTS:
            parameters = {each["name"]: each["schema"] for each in operation.parameters}
            assert {"limit", "cursor"} <= parameters.keys(), operation.id
            assert parameters["limit"]["default"] <= parameters["limit"]["maximum"] <= 100

    def test_sort_by_named_fields_in_either_direction(self) -> None:
        sorts = [each["schema"] for name, each in PARAMETERS.items() if name.endswith(".sort")]
        assert sorts
        for schema in sorts:
            offered = resolved(schema)["enum"]
            assert schema["default"] in offered
            fields = {field.removeprefix("-") for field in offered}
            assert set(offered) == fields | {f"-{field}" for field in fields}


class TestErrors:
    """API11."""

    def test_are_problems_and_nothing_else(self) -> None:
        for operation in OPERATIONS:
            for status, response in operation.responses.items():
                if status >= 400:
                    schema = response["content"][PROBLEM]["schema"]
                    assert response["content"].keys() == {PROBLEM}, operation.id
                    assert schema == {"$ref": "#/components/schemas/Problem"}, operation.id

    def test_name_their_codes(self) -> None:
        for response in DOCUMENT["components"]["responses"].values():
            for code, example in response["content"][PROBLEM]["examples"].items():
                assert example["value"]["code"] == code
                assert f"`{code}`" in response["description"]

    @pytest.mark.parametrize("operation", OPERATIONS, ids=str)
    def test_are_documented_wherever_they_occur(self, operation: Operation) -> None:
        expected = {500}
        if operation.path.startswith("/api/v1/"):
            expected |= {429, 503}
        if operation.scopes:
            expected |= {401, 403}
        if operation.body:
            expected |= {400, 413, 422}
            if operation.body[0] == "application/json":
                expected |= {415}
        if operation.parameters:
            expected |= {422}
        if "{" in operation.path:
            expected |= {404}
        assert expected <= operation.responses.keys()


class TestDocument:
    """API12."""

    def test_is_valid_openapi_3_1(self) -> None:
        assert DOCUMENT["openapi"].startswith("3.1.")
        assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []

    def test_has_no_dangling_reference(self) -> None:
        targets = [each["$ref"] for _, each in walk(DOCUMENT) if "$ref" in each]
        assert targets
        assert all(resolved({"$ref": target}) for target in targets)

    def test_has_no_unused_component(self) -> None:
        used = references(DOCUMENT["paths"]) | references(DOCUMENT["components"]["responses"])
        assert used == SCHEMAS.keys()

    def test_names_models_like_classes(self) -> None:
        names = SCHEMAS.keys() | MODELS.keys()
        assert [name for name in names if not re.fullmatch(r"([A-Z][a-z]+[0-9]*)+", name)] == []
        assert [name for name, each in SCHEMAS.items() if each.get("title", name) != name] == []

    def test_names_closed_sets(self) -> None:
        sets = {path for path, each in walk(DOCUMENT) if len(each.get("enum", ())) > 1}
        assert sets == {f"#/components/schemas/{name}" for name in SCHEMAS.keys() - MODELS.keys()}

    def test_names_fields_like_attributes(self) -> None:
        names = {field for model in MODELS.values() for field in model["properties"]}
        assert [name for name in names if not name.isidentifier() or keyword.iskeyword(name)] == []

    def test_requires_every_field_of_a_response(self) -> None:
        # But for the errors of a problem, which say by their absence that it is not about fields.
        optional = {
            f"{name}.{field}"
            for name, model in OUTPUTS.items()
            for field in model["properties"].keys() - set(model["required"])
        }
        assert optional == {"Problem.errors", "Problem.more_errors"}

    def test_shares_the_responses_of_errors(self) -> None:
        repeated = [
            (operation.id, status)
            for operation in OPERATIONS
            for status, response in operation.definition["responses"].items()
            if int(status) >= 400 and response.keys() != {"$ref"}
        ]
        assert repeated == []

    def test_is_served_by_the_running_service(self, client: TestClient) -> None:
        assert client.get("/openapi.json").json() == DOCUMENT


class TestSecurity:
    """API13."""

    @pytest.mark.parametrize("operation", OPEN, ids=str)
    def test_requires_no_undeclared_credentials(
        self, client: TestClient, operation: Operation
    ) -> None:
        response = client.request(**operation.request())
        assert "unauthenticated" not in response.text
        assert response.status_code != 403

    @pytest.mark.parametrize("operation", SECURED, ids=str)
    def test_accepts_a_token_with_just_the_declared_scopes(
        self, client: TestClient, arrange: ArrangeSync, operation: Operation
    ) -> None:
        account = arrange.account(role="admin", permissions=needed(operation))
        response = client.request(**operation.request(), headers=account.headers)
        assert response.status_code not in {401, 403}

    @pytest.mark.parametrize(
        "operation", [each for each in SECURED if "ApiKey" in each.schemes], ids=str
    )
    def test_accepts_an_api_key_with_just_the_declared_scopes(
        self, client: TestClient, arrange: ArrangeSync, operation: Operation
    ) -> None:
        key = arrange.api_key(arrange.account(role="admin"), needed(operation))
        response = client.request(**operation.request(), headers=bearer(key))
        assert response.status_code not in {401, 403}

    @pytest.mark.parametrize(
        "operation", [each for each in SECURED if "ApiKey" not in each.schemes], ids=str
    )
    def test_refuses_api_keys_where_they_are_not_declared(
        self, client: TestClient, arrange: ArrangeSync, operation: Operation
    ) -> None:
        key = arrange.api_key(arrange.account(role="admin"), ROLES["admin"])
        response = client.request(**operation.request(), headers=bearer(key))
        assert response.status_code == 403

    def test_requires_a_recent_login_for_sensitive_changes(self) -> None:
        code = "insufficient_user_authentication"
        recent = {each.id for each in SECURED if code in each.responses[401]["description"]}
        assert recent == {
            "administer_user",
            "change_password",
            "change_profile",
            "create_api_key",
            "delete_account",
            "delete_user",
        }

    def test_accepts_access_tokens_wherever_credentials_are_required(self) -> None:
        assert [each.id for each in SECURED if "AccessToken" not in each.schemes] == []


class TestModels:
    """SCH02."""

    def test_are_for_input_or_output_but_not_both(self) -> None:
        sent = references([each.definition.get("requestBody") for each in OPERATIONS])
        answered = references([each.responses for each in OPERATIONS])
        assert sent & MODELS.keys() == INPUTS.keys() & SCHEMAS.keys()
        assert answered & MODELS.keys() == OUTPUTS.keys()

    def test_of_resources_are_named_by_purpose(self) -> None:
        for operation in OPERATIONS:
            if operation.body and operation.scopes and operation.id != "step_up":
                name = operation.body[1]["title"]
                suffix = "Update" if operation.method == "patch" else ("Create", "Update")
                assert name.endswith(suffix), operation.id

    def test_show_no_secret_except_new_ones(self) -> None:
        secret = re.compile(r"\..*(password|secret|hash|private_key|token$)|\.key$|Key\.d$")
        shown = {
            f"{name}.{field}"
            for name, model in OUTPUTS.items()
            for field in model["properties"]
            if secret.search(f"{name}.{field}")
        }
        assert shown == {
            "AccessTokenResponse.access_token",
            "ApiKeyCreatedResponse.key",
            "TokenResponse.access_token",
            "TokenResponse.device_token",
            "TokenResponse.refresh_token",
        }

    def test_mark_write_only_fields(self) -> None:
        assert [path for path, each in walk(OUTPUTS) if each.get("writeOnly")] == []
        passwords = [name for name in PROPERTIES if name.endswith("password")]
        assert passwords
        assert [name for name in passwords if not PROPERTIES[name].get("writeOnly")] == []


class TestPermissions:
    """SEC06."""

    @pytest.mark.parametrize("operation", SECURED, ids=str)
    def test_are_required_instead_of_roles(self, operation: Operation) -> None:
        assert operation.scopes <= PERMISSIONS.keys()
        assert operation.scopes.isdisjoint(ROLES)
        for requirement in operation.definition["security"]:
            assert set(*requirement.values()) == operation.scopes

    def test_are_all_required_somewhere(self) -> None:
        assert {scope for each in SECURED for scope in each.scopes} == PERMISSIONS.keys()

    def test_are_required_by_all_but_open_operations(self) -> None:
        declared = {each.id for each in OPERATIONS if each.definition.get("security") == []}
        assert declared == {each.id for each in OPEN if each.path.startswith("/api/v1/")}


def needed(operation: Operation) -> frozenset[Any]:
    """Return the permissions that the example needs: a key can only get those of its creator."""
    given: Callable[..., Any] = operation.request().get("json", {}).get
    return operation.scopes | frozenset(given("scopes", ()))
