"""Rows of items."""

from typing import Any

from polyfactory import Use

from app import models
from app.core.clock import utc_now
from app.core.ids import new_id
from tests.support.arrange import Account, ArrangeSync
from tests.support.factories import RowFactory


class ItemFactory(RowFactory[models.Item]):
    """A draft."""

    id = Use(new_id)
    title = Use(lambda: f"Item {new_id().hex[-6:]}")
    description = ""
    status = "draft"
    version = 1
    created_at = Use(utc_now)
    updated_at = Use(utc_now)


def items_of(owner: Account, count: int = 1, **fields: Any) -> list[models.Item]:
    """Return new items of an owner, the oldest first."""
    return [ItemFactory.build(owner_id=owner.id, **fields) for _ in range(count)]


def store_items(
    arrange: ArrangeSync, owner: Account, count: int = 1, **fields: Any
) -> list[models.Item]:
    """Store items of an owner; return them, the oldest first."""
    rows = items_of(owner, count, **fields)
    arrange.store(*rows)
    return rows
