"""Events in the log, which makes it a record of who changed what."""

from typing import Final

import structlog

from app.domain.items import Event, ItemChanged, ItemCreated, ItemDeleted

_NAMES: Final[dict[type[Event], str]] = {
    ItemCreated: "item created",
    ItemChanged: "item changed",
    ItemDeleted: "item deleted",
}
logger = structlog.stdlib.get_logger("app.audit")


class LoggedEvents:
    """Writes a line for each event; the request's id and user are on it, as on every line."""

    async def publish(self, event: Event) -> None:
        """Write down what has happened."""
        logger.info(
            _NAMES[type(event)],
            owner_id=str(event.owner_id),
            item_id=str(event.item_id),
            version=event.version,
        )
