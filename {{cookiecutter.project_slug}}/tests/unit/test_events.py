"""What happens is told after the commit, and written down."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from app.core.ids import new_id
from app.domain.items import (
    ItemChanged,
    ItemCreated,
    ItemDeleted,
    ItemEvent,
    ItemFields,
    ItemId,
    ItemNotFound,
)
from app.domain.users import UserId
from app.infrastructure.events import LoggedEvents
from app.repositories.items import ItemRepository
from app.resources import Resources
from app.services.items import ItemService
from tests.support.arrange import ArrangeSync, Someone

ITEMS = "/api/v1/items"
CONTENT: ItemFields = {"title": "Note A", "description": "", "status": "draft"}


class RecordedEvents:
    """Keeps the events that were published."""

    def __init__(self) -> None:
        self.events: list[ItemEvent] = []

    async def publish(self, event: object) -> None:
        assert isinstance(event, ItemEvent)
        self.events.append(event)


class Deaf:
    """Hears of nothing."""

    async def publish(self, event: object) -> None:
        raise OSError("nobody listens")


@pytest.fixture
def events(use: Callable[..., None]) -> RecordedEvents:
    recorded = RecordedEvents()
    use(events=recorded)
    return recorded


@pytest.fixture
def ada(arrange: ArrangeSync) -> Someone:
    return arrange.someone()


class TestItems:
    def test_are_told_of_when_they_come_change_and_go(
        self, client: TestClient, ada: Someone, events: RecordedEvents
    ) -> None:
        created = client.post(ITEMS, headers=ada.headers, json={"title": "Note A"}).json()
        path = f"{ITEMS}/{created['id']}"
        client.patch(path, headers=ada.headers, json={"status": "active"})
        client.put(path, headers=ada.headers, json={"title": "Note B"})
        client.delete(path, headers=ada.headers)

        item_id = ItemId(events.events[0].item_id)
        assert str(item_id) == created["id"]
        assert events.events == [
            ItemCreated(ada.id, item_id, 1),
            ItemChanged(ada.id, item_id, 2),
            ItemChanged(ada.id, item_id, 3),
            ItemDeleted(ada.id, item_id, 3),
        ]

    def test_are_not_told_of_when_nothing_changes(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, events: RecordedEvents
    ) -> None:
        (item,) = arrange.items(ada, title="Note A")
        response = client.patch(f"{ITEMS}/{item.id}", headers=ada.headers, json={"title": "Note A"})
        assert response.status_code == 200
        assert events.events == []

    def test_are_changed_although_nobody_can_be_told(
        self, client: TestClient, ada: Someone, use: Callable[..., None]
    ) -> None:
        use(events=Deaf())
        response = client.post(ITEMS, headers=ada.headers, json={"title": "Note A"})
        assert response.status_code == 201
        assert client.get(response.headers["Location"], headers=ada.headers).status_code == 200

    def test_are_not_told_of_when_the_transaction_is_rolled_back(
        self, client: TestClient, app: FastAPI, ada: Someone
    ) -> None:
        recorded = RecordedEvents()
        resources: Resources = app.state.resources

        async def create_and_fail() -> None:
            async with resources.database.transaction() as session:
                items = ItemService(ItemRepository(session), recorded, resources.cache)
                await items.create(ada.id, CONTENT)
                raise ItemNotFound

        assert client.portal is not None
        with pytest.raises(ItemNotFound):
            client.portal.call(create_and_fail)
        assert recorded.events == []


class TestLog:
    @pytest.mark.parametrize(
        ("kind", "line"),
        [
            (ItemCreated, "item created"),
            (ItemChanged, "item changed"),
            (ItemDeleted, "item deleted"),
        ],
    )
    async def test_has_a_line_for_each(self, kind: type[ItemEvent], line: str) -> None:
        owner_id, item_id = UserId(new_id()), ItemId(new_id())
        with capture_logs() as lines:
            await LoggedEvents().publish(kind(owner_id, item_id, 7))
        assert lines == [
            {
                "event": line,
                "log_level": "info",
                "owner_id": str(owner_id),
                "item_id": str(item_id),
                "version": 7,
            }
        ]

    def test_says_who_it_was(
        self, client: TestClient, ada: Someone, capsys: pytest.CaptureFixture[str]
    ) -> None:
        client.post(ITEMS, headers=ada.headers, json={"title": "Note A"})
        written = "".join(capsys.readouterr())  # commands log to the other of the two
        (line,) = [each for each in written.splitlines() if "item created" in each]
        assert f"user_id={ada.id}" in line
        assert "request_id=" in line
