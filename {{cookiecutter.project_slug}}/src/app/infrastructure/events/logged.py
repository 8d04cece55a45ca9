"""Events in the log, which makes it a record of who changed what."""

from typing import Final

import structlog

from app.domain.items import ItemChanged, ItemCreated, ItemDeleted, ItemEvent

_NAMES: Final[dict[type, str]] = {
    ItemCreated: "item created",
    ItemChanged: "item changed",
    ItemDeleted: "item deleted",
}
logger = structlog.stdlib.get_logger("app.audit")


class LoggedEvents:
    """Writes a line for each event; the request's id and user are on it, as on every line."""

    async def publish(self, event: object) -> None:
        """Log an event.

        Raises:
            TypeError: The event is of no known type.
        """
        if not isinstance(event, ItemEvent):
            raise TypeError(type(event))
        logger.info(
            _NAMES[type(event)],
            owner_id=str(event.owner_id),
            item_id=str(event.item_id),
            version=event.version,
        )
