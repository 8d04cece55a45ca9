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
    UNAUTHENTICATED: "credentials missing or invalid, session ended, or maximum lifetime of the "
    "connection reached; reconnect with a new ticket",
    FORBIDDEN: "channel or origin not permitted, or a permission was revoked",
    TOO_SLOW: "the client reads too slowly",
    UNSUPPORTED: "a message was not text",
    MALFORMED: "too many invalid messages",
    TOO_MANY_MESSAGES: "too many messages",
    TOO_LARGE: "a message was too large",
    INTERNAL: "internal error, or a protocol ping was not answered in time",
    RESTARTING: "the server process is shutting down; reconnect at once",
    TRY_LATER: "too many connections, or the service is unavailable; retry later",
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
