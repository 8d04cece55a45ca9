"""The AsyncAPI document: what OpenAPI has no words for (AsyncAPI 3.0).

Its schemas are made from the models that read and write the messages.
"""

from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app import about
from app.api.schemas.realtime import ClientMessage, ServerMessage
from app.domain.realtime import (
    FORBIDDEN,
    INTERNAL,
    MALFORMED,
    RESTARTING,
    TOO_LARGE,
    TOO_MANY_MESSAGES,
    TOO_SLOW,
    TRY_LATER,
    UNAUTHENTICATED,
    UNSUPPORTED,
)

VERSION: Final = "3.0.0"
CLOSE_CODES: Final[dict[int, str]] = {
    UNAUTHENTICATED: "the credentials are missing or not valid, the session has ended, or the "
    "connection has lasted long enough: come back with a new ticket",
    FORBIDDEN: "the channel or the page's origin is not permitted, or a permission was withdrawn",
    TOO_SLOW: "messages were read too slowly",
    UNSUPPORTED: "a message was not text",
    MALFORMED: "too many messages could not be read",
    TOO_MANY_MESSAGES: "too many messages were sent",
    TOO_LARGE: "a message was too large",
    INTERNAL: "something went wrong, or a ping of the protocol was not answered in time",
    RESTARTING: "the server process ends: come back at once, to another one",
    TRY_LATER: "there are too many connections, or the service is not available: come back later",
}
"""When a WebSocket is closed with which code."""

_SCHEMAS: Final = "#/components/schemas/"
_CHANNEL: Final = "#/channels/channel"
_DESCRIPTION: Final = (
    "Open it with a ticket in the query, or with an access token or an API key in the header"
    " `Authorization`. Close codes: "
)


def asyncapi() -> dict[str, Any]:
    """Return the document."""
    sent, heard = _models(ClientMessage), _models(ServerMessage)
    _, schemas = models_json_schema(
        [
            *((model, "validation") for model in sent),
            *((model, "serialization") for model in heard),
        ],
        ref_template=_SCHEMAS + "{model}",
    )
    messages = {model.__name__: _message(model) for model in (*sent, *heard)}
    return {
        "asyncapi": VERSION,
        "info": {
            "title": about.TITLE,
            "version": about.VERSION,
            "description": about.DESCRIPTION,
            **({"contact": about.CONTACT} if about.CONTACT else {}),
        },
        "defaultContentType": "application/json",
        "channels": {
            "channel": {
                "address": "/api/v1/ws/{channel}",
                "description": _DESCRIPTION
                + "; ".join(f"{code}: {why}" for code, why in CLOSE_CODES.items())
                + ".",
                "parameters": {
                    "channel": {
                        "description": "`me`, `lobby`, `admin` (needs `users:read`), or `user:` "
                        "and your own id.",
                        "examples": ["me", "lobby"],
                    }
                },
                "bindings": {
                    "ws": {
                        "method": "GET",
                        "query": {
                            "type": "object",
                            "properties": {
                                "ticket": {
                                    "type": "string",
                                    "description": "What `POST /api/v1/ws/tickets` gave.",
                                }
                            },
                        },
                    }
                },
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": {
            "receive": _operation("receive", "What clients send.", sent),
            "send": _operation("send", "What clients hear.", heard),
        },
        "components": {"messages": messages, "schemas": schemas["$defs"]},
    }


def _models(union: Any) -> list[type[BaseModel]]:  # noqa: ANN401 - a union is of no type of its own
    """The members of a discriminated union."""
    return list(get_args(get_args(union)[0]))


def _operation(action: str, summary: str, models: list[type[BaseModel]]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": _CHANNEL},
        "summary": summary,
        "messages": [{"$ref": f"{_CHANNEL}/messages/{model.__name__}"} for model in models],
    }


def _message(model: type[BaseModel]) -> dict[str, Any]:
    return {
        "name": model.__name__,
        "summary": model.__doc__,
        "payload": {"$ref": _SCHEMAS + model.__name__},
    }
