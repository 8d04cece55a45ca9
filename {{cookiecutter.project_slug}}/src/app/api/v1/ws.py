"""WebSockets."""

from fastapi import HTTPException, WebSocket
from fastapi.responses import JSONResponse

from app.api.deps.auth import AccountOwner
from app.api.deps.common import ResourcesDep, limit_account
from app.api.deps.realtime import ConnectionGuardDep, TicketServiceDep
from app.api.schemas.realtime import TicketResponse
from app.core.errors import Forbidden, TooManyRequests, Unauthenticated, Unavailable
from app.core.ids import new_id
from app.domain.realtime import DESCRIPTION, permitted_channel
from app.infrastructure.http.context import identify
from app.infrastructure.realtime import Client
from app.infrastructure.realtime.asyncapi import asyncapi
from app.infrastructure.realtime.sockets import (
    SocketRouter,
    accept,
    bearer_of,
    refuse,
    require_origin,
    serve,
)
from app.messages import MESSAGES

router = SocketRouter(prefix="/ws", tags=["websockets"])

TAG = {
    "name": "websockets",
    "description": (
        "Live events. `/api/v1/ws/asyncapi.json` documents the messages of the WebSocket "
        "`/api/v1/ws/{channel}`."
    ),
}


@router.post("/tickets", status_code=200, summary="Create a ticket")
async def issue_ticket(owner: AccountOwner, tickets: TicketServiceDep) -> TicketResponse:
    """Create a single-use ticket to open a WebSocket from a browser, which can't send headers.

    Open `/api/v1/ws/{channel}?ticket=…` before the ticket expires. The channel is `me` for your
    own events, `lobby`, which is open to everyone, or `admin`. Other clients send an access token
    or an API key in the `Authorization` header instead.
    """
    return TicketResponse.model_validate(await tickets.issue(owner))


@router.websocket("/{channel}")
async def open_channel(
    socket: WebSocket, channel: str, resources: ResourcesDep, guard: ConnectionGuardDep
) -> None:
    """Connect a client to a channel until either side closes."""
    settings, hub = resources.settings, resources.hub
    try:
        require_origin(socket, settings.cors_origins)
        principal = await guard.admit(socket.query_params.get("ticket"), bearer_of(socket))
        identify(
            socket,
            principal.id,
            session_id=principal.session_id,
            api_key_id=principal.api_key_id,
        )
        await limit_account(socket, principal.id)
        client = Client(
            id=new_id(),
            subject=principal.id,
            name=principal.user.username,
            permissions=frozenset(principal.permissions),
            credential=principal.session_id or principal.api_key_id or principal.id,
            channel=permitted_channel(channel, principal),
        )
        connection = await hub.join(client)
    except (Unauthenticated, Forbidden, TooManyRequests, Unavailable) as error:
        await refuse(socket, error)
        return
    try:
        await accept(socket)
        await serve(socket, connection, hub, MESSAGES, settings.realtime)
    finally:
        await hub.leave(connection)


async def get_asyncapi(resources: ResourcesDep) -> JSONResponse:
    """Return the AsyncAPI document, if documentation is enabled."""
    if not resources.settings.docs_enabled:
        raise HTTPException(404)
    return JSONResponse(asyncapi(MESSAGES, "/api/v1/ws/{channel}", DESCRIPTION))


router.add_api_route("/asyncapi.json", get_asyncapi, include_in_schema=False)
