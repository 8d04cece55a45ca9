"""Schemas of WebSocket tickets."""

from pydantic import Field

from app.infrastructure.http.schemas import ResponseModel


class TicketResponse(ResponseModel):
    """A ticket for one WebSocket."""

    ticket: str = Field(
        description="Send it as `?ticket=…` when you open the WebSocket.",
        examples=["tk_Qm8nB1xZ7kL5pW0tY2rE4uI6oA9sDfGhJkLzXcVbMnQ"],
    )
    expires_in: int = Field(description="Lifetime in seconds.", examples=[30])
