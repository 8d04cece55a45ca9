"""Rows and requests of items."""

# {% block imports %}
# {% endblock %}
from typing import Any

from polyfactory import Use

from app import models
from app.core.clock import utc_now
from app.core.ids import new_id
from tests.support.arrange import Account, ArrangeSync
from tests.support.factories import RowFactory


# {% block numbers %}
# {% endblock %}
class ItemFactory(RowFactory[models.Item]):
    """An item with plausible values."""

    id = Use(new_id)
    # {% block values %}
    title = Use(lambda: f"Title {new_id().hex[-6:]}")
    description = Use(lambda: f"Description {new_id().hex[-6:]}")
    status = "draft"
    # {% endblock %}
    version = 1
    created_at = Use(utc_now)
    updated_at = Use(utc_now)


def new_items(owner: Account, count: int = 1, /, **fields: Any) -> list[Any]:
    """Return new items of an owner, oldest first, after what they refer to."""
    # {% block rows %}
    return [ItemFactory.build(owner_id=owner.id, **fields) for _ in range(count)]
    # {% endblock %}


def store_items(
    arrange: ArrangeSync, owner: Account, count: int = 1, /, **fields: Any
) -> list[models.Item]:
    """Store items of an owner; return them, the oldest first."""
    rows = new_items(owner, count, **fields)
    arrange.store(*rows)
    return rows[-count:]


def item_content(arrange: ArrangeSync, owner: Account, /, **fields: Any) -> dict[str, Any]:
    """Return the body of a request that creates an item, with all fields."""
    # {% block content %}
    content = {
        "title": f"Title {new_id().hex[-6:]}",
        "description": f"Description {new_id().hex[-6:]}",
        "status": "active",
    }
    # {% endblock %}
    return content | fields
