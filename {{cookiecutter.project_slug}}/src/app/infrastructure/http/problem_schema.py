"""What an error looks like to a client: RFC 9457, `application/problem+json`."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class FieldProblem(BaseModel):
    """One thing that is wrong with one field."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "field": "body.title",
                    "message": "String should have at least 1 character",
                    "code": "string_too_short",
                }
            ]
        }
    )

    field: str = Field(
        description="Where it is: the part of the request, then the path in it, joined by dots.",
        examples=["body.title"],
    )
    message: str = Field(
        description="What is wrong, for a person.",
        examples=["String should have at least 1 character"],
    )
    code: str = Field(
        description="What is wrong, for a program. It never changes.",
        examples=["string_too_short"],
    )


class Problem(BaseModel):
    """Why a request could not be carried out (RFC 9457)."""

    MEDIA_TYPE: ClassVar[str] = "application/problem+json"

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:problem:item_not_found",
                    "title": "There is no such item",
                    "status": 404,
                    "detail": "There is no such item.",
                    "instance": "/api/v1/items/01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10",
                    "code": "item_not_found",
                    "request_id": "01976d5e-9f00-7d12-b2f4-0c6a3e5d7f21",
                }
            ]
        }
    )

    type: str = Field(
        description="URI of the kind of problem: `urn:problem:` and the code.",
        examples=["urn:problem:item_not_found"],
    )
    title: str = Field(
        description="The kind of problem in a few words, the same for each occurrence.",
        examples=["There is no such item"],
    )
    status: int = Field(
        ge=400, le=599, description="The HTTP status of this response.", examples=[404]
    )
    detail: str = Field(
        description="This occurrence, in a sentence for a person.",
        examples=["There is no such item."],
    )
    instance: str = Field(
        description="The path that was asked for.",
        examples=["/api/v1/items/01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10"],
    )
    code: str = Field(
        description="The kind of problem for a program: branch on this. It never changes.",
        examples=["item_not_found"],
    )
    request_id: str = Field(
        description="The `X-Request-ID` of this request: quote it when you ask for help.",
        examples=["01976d5e-9f00-7d12-b2f4-0c6a3e5d7f21"],
    )
    errors: list[FieldProblem] = Field(
        default_factory=list,
        description="What is wrong with each field; there only when fields are the problem.",
        examples=[
            [
                {
                    "field": "body.title",
                    "message": "String should have at least 1 character",
                    "code": "string_too_short",
                }
            ]
        ],
    )


def problem_schemas(ref_template: str) -> dict[str, dict[str, Any]]:
    """The JSON Schemas of a problem by name, for the components of the OpenAPI document.

    Args:
        ref_template: Where the schemas will stand, such as `#/components/schemas/{model}`.
    """
    schema = Problem.model_json_schema(ref_template=ref_template, mode="serialization")
    nested: dict[str, dict[str, Any]] = schema.pop("$defs")
    return {Problem.__name__: schema, **nested}
