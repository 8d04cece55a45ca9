"""The AsyncAPI 3.0 document of the WebSocket, from the models of its messages."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app import about
from app.infrastructure.realtime.connections import (
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
from app.infrastructure.realtime.registry import Messages

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
"""Meaning of each close code."""

_SCHEMAS: Final = "#/components/schemas/"
_CHANNEL: Final = "#/channels/channel"


def asyncapi(messages: Messages, path: str, channels: str) -> dict[str, Any]:
    """Return the document.

    Args:
        messages: The registered messages.
        path: Path of the WebSocket, with `{channel}`; tickets are at `tickets` beside it.
        channels: Description of the channels.
    """
    received, sent = messages.received, messages.sent
    codes = "; ".join(f"{code}: {meaning}" for code, meaning in CLOSE_CODES.items())
    ticket = f"From `POST {path.replace('{channel}', 'tickets')}`."
    _, schemas = models_json_schema(
        [*((each, "validation") for each in received), *((each, "serialization") for each in sent)],
        ref_template=_SCHEMAS + "{model}",
    )
    documented = {
        model.__name__: {
            "name": model.__name__,
            "summary": model.__doc__,
            "payload": {"$ref": _SCHEMAS + model.__name__},
        }
        for model in (*received, *sent)
    }
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
                "address": path,
                "description": (
                    "Connect with a ticket in the query, or with an access token or an API key in"
                    f" the `Authorization` header. Close codes: {codes}."
                ),
                "parameters": {"channel": {"description": channels, "examples": ["me", "lobby"]}},
                "bindings": {
                    "ws": {
                        "method": "GET",
                        "query": {
                            "type": "object",
                            "properties": {"ticket": {"type": "string", "description": ticket}},
                        },
                    }
                },
                "messages": {
                    name: {"$ref": f"#/components/messages/{name}"} for name in documented
                },
            }
        },
        "operations": {
            "receive": _operation("receive", "Messages from clients.", received),
            "send": _operation("send", "Messages to clients.", sent),
        },
        "components": {"messages": documented, "schemas": schemas["$defs"]},
    }


def _operation(action: str, summary: str, models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": _CHANNEL},
        "summary": summary,
        "messages": [{"$ref": f"{_CHANNEL}/messages/{model.__name__}"} for model in models],
    }
