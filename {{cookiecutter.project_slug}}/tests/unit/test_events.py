"""Events in the log."""

from dataclasses import dataclass
from uuid import UUID

from structlog.testing import capture_logs

from app.core.ids import new_id
from app.infrastructure.events import LoggedEvents


@dataclass(frozen=True)
class ThingChanged:
    thing_id: UUID
    version: int


async def test_an_event_is_a_line_of_the_log() -> None:
    event = ThingChanged(new_id(), 7)
    with capture_logs() as lines:
        await LoggedEvents().publish(event)
    assert lines == [
        {
            "event": "thing changed",
            "log_level": "info",
            "thing_id": str(event.thing_id),
            "version": 7,
        }
    ]
