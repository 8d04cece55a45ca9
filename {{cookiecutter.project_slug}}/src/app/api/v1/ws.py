"""Live events over WebSockets."""

from fastapi import APIRouter, HTTPException, WebSocket
from fastapi.responses import JSONResponse

from app.api.asyncapi import asyncapi
from app.api.deps.auth import AccountOwner
from app.api.deps.common import RateLimiterDep, SettingsDep, limit_account
from app.api.deps.realtime import DoorkeeperDep, HubDep, TicketServiceDep
from app.api.realtime import bearer_of, converse, refuse, require_origin
from app.api.schemas.realtime import TicketResponse
from app.core.errors import Forbidden, TooManyRequests, Unauthenticated, Unavailable
from app.core.ids import new_id
from app.domain.realtime import ConnectionId, Visitor, permitted_channel
from app.infrastructure.http.context import identify
from app.services.realtime import Conversation

router = APIRouter(prefix="/ws", tags=["websockets"])

TAG = {
    "name": "websockets",
    "description": (
        "Live events. `/api/v1/ws/asyncapi.json` tells what is sent and heard over the WebSocket "
        "`/api/v1/ws/{channel}`."
    ),
}


@router.post("/tickets", status_code=200, summary="Get a ticket")
async def issue_ticket(owner: AccountOwner, tickets: TicketServiceDep) -> TicketResponse:
    """Get a ticket for one WebSocket: a page can't send a header when it opens one.

    Open `/api/v1/ws/{channel}?ticket=…` with it, once and soon. The channel is `me` for what
    happens to your items, `lobby`, which is open to all, or `admin`. It speaks for your login;
    machines send their key in the header of the WebSocket instead.
    """
    return TicketResponse.model_validate(await tickets.issue(owner))


@router.websocket("/{channel}")
async def open_channel(
    socket: WebSocket,
    channel: str,
    settings: SettingsDep,
    limiter: RateLimiterDep,
    doorkeeper: DoorkeeperDep,
    hub: HubDep,
) -> None:
    """Let a client hear and speak in a channel, until either side ends it."""
    try:
        require_origin(socket, settings.cors_origins)
        principal = await doorkeeper.admit(socket.query_params.get("ticket"), bearer_of(socket))
        identify(socket, principal)
        await limit_account(socket, limiter, principal.id)
        place = permitted_channel(channel, principal)
        visitor = Visitor(ConnectionId(new_id()), principal, place)
        connection = await hub.join(visitor, doorkeeper.recheck)
    except (Unauthenticated, Forbidden, TooManyRequests, Unavailable) as error:
        await refuse(socket, error)
        return
    try:
        await socket.accept()
        await converse(socket, connection, Conversation(hub, visitor), settings.realtime)
    finally:
        await hub.leave(connection)


async def get_asyncapi(settings: SettingsDep) -> JSONResponse:
    """Show what is sent and heard over the WebSocket, wherever the documentation is shown."""
    if not settings.docs_enabled:
        raise HTTPException(404)
    return JSONResponse(asyncapi())


router.add_api_route("/asyncapi.json", get_asyncapi, include_in_schema=False)
