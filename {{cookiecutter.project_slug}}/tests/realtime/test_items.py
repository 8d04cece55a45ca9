"""Events of items reach their owner, after the commit, and nobody else."""

# {% block imports %}
# {% endblock %}
from starlette.testclient import TestClient

from tests.support.arrange import Account, ArrangeSync
from tests.support.items import item_content, store_items
from tests.support.sockets import connected

ITEMS = "/api/v1/items"
# {% block values %}
CHANGE = {"title": "Title 1"}
# {% endblock %}


class TestOwner:
    def test_gets_the_events(self, client: TestClient, arrange: ArrangeSync, ada: Account) -> None:
        content = item_content(arrange, ada)
        change = item_content(arrange, ada) | CHANGE
        with connected(client, ada, "me") as session:
            created = client.post(ITEMS, headers=ada.headers, json=content).json()
            path = f"{ITEMS}/{created['id']}"
            announced = session.receive_json()
            assert client.get(path, headers=ada.headers).status_code == 200
            for _ in range(2):
                client.patch(path, headers=ada.headers, json=change)
            client.delete(path, headers=ada.headers)
            events = [announced, *(session.receive_json() for _ in range(2))]

        assert events == [
            {"type": "item_created", "item_id": created["id"], "version": 1},
            {"type": "item_changed", "item_id": created["id"], "version": 2},
            {"type": "item_deleted", "item_id": created["id"], "version": 2},
        ]

    def test_gets_no_event_of_a_refused_change(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        (item,) = store_items(arrange, ada)
        with connected(client, ada, "me") as session:
            stale = {**ada.headers, "If-Match": '"7"'}
            response = client.patch(f"{ITEMS}/{item.id}", headers=stale, json=CHANGE)
            assert response.status_code == 412
            session.send_json({"type": "ping"})
            assert session.receive_json()["type"] == "pong"


class TestOthers:
    def test_get_no_events(self, client: TestClient, arrange: ArrangeSync, ada: Account) -> None:
        content = item_content(arrange, ada)
        other = arrange.account(role="admin")
        with (
            connected(client, other, "me") as own,
            connected(client, other, "lobby") as lobby,
            connected(client, other, "admin") as admin,
        ):
            client.post(ITEMS, headers=ada.headers, json=content)
            for session in (own, lobby, admin):
                session.send_json({"type": "ping"})
                assert session.receive_json()["type"] == "pong"
