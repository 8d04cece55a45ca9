"""Items: the example resource."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from app import models
from app.api.deps.auth import get_principal
from app.domain.items import ItemChanged, ItemCreated, ItemDeleted, ItemEvent, ItemId
from app.infrastructure.database.repository import encode_cursor
from tests.support.arrange import Account, Arrange, ArrangeSync, gone
from tests.support.items import ItemFactory, items_of, store_items

ITEMS = "/api/v1/items"
EXPORT = f"{ITEMS}/export"
NOBODYS = f"{ITEMS}/01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
CONTENT = {"title": "Bernoulli numbers", "description": "Note G.", "status": "active"}
SORTS = ["created_at", "-created_at", "updated_at", "-updated_at", "title", "-title"]
WRITES: list[tuple[str, dict[str, Any]]] = [
    ("PUT", {"json": CONTENT}),
    ("PATCH", {"json": {"title": "Mine now"}}),
    ("DELETE", {}),
]


@pytest.fixture
def item(client: TestClient, arrange: ArrangeSync, ada: Account) -> models.Item:
    """An item of Ada's at version 3."""
    (item,) = store_items(arrange, ada, title="Original", description="Brand new")
    for description in ("New", "First"):
        client.patch(path_of(item), headers=ada.headers, json={"description": description})
    return item


class TestAnyItemOperation:
    @pytest.mark.parametrize(("method", "path"), [("POST", ITEMS), ("PATCH", NOBODYS)])
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("title", ""),
            ("title", " \u2003 "),
            ("title", "x" * 201),
            ("title", "two\nlines"),
            ("title", None),
            ("title", 42),
            ("description", "x" * 10_001),
            ("description", "\x00"),
            ("description", None),
            ("status", "gone"),
            ("status", None),
            ("owner_id", "01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10"),
            ("version", 7),
        ],
    )
    def test_refuses_bad_content(
        self, client: TestClient, ada: Account, method: str, path: str, field: str, value: object
    ) -> None:
        response = client.request(method, path, headers=ada.headers, json={**CONTENT, field: value})

        assert_invalid(response, f"body.{field}")

    @pytest.mark.parametrize(("method", "options"), [("GET", {}), *WRITES])
    def test_does_not_find_another_users_item(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        item: models.Item,
        method: str,
        options: dict[str, Any],
    ) -> None:
        mallory = arrange.account(role="admin")
        headers = {**mallory.headers, "If-Match": "*", "If-None-Match": "*"}

        response = client.request(method, path_of(item), headers=headers, **options)

        assert_problem(response, 404, "item_not_found")
        assert stored(arrange, item) == ("Original", "First", "draft", 3)


class TestCreateItem:
    def test_refuses_more_than_the_quota(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        first, *_ = store_items(arrange, ada, 9999)
        assert client.post(ITEMS, headers=ada.headers, json=CONTENT).status_code == 201
        response = client.post(ITEMS, headers=ada.headers, json=CONTENT)
        assert_problem(response, 409, "too_many_items")
        other = arrange.account()
        assert client.post(ITEMS, headers=other.headers, json=CONTENT).status_code == 201
        headers = {**ada.headers, "If-Match": "*"}
        assert client.delete(f"{ITEMS}/{first.id}", headers=headers).status_code == 204
        assert client.post(ITEMS, headers=ada.headers, json=CONTENT).status_code == 201

    def test_returns_item_location_and_version(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        response = client.post(ITEMS, headers=ada.headers, json=CONTENT)

        assert response.status_code == 201
        created = response.json()
        assert created.items() >= {**CONTENT, "version": 1}.items()
        assert created["updated_at"] == created["created_at"]
        assert response.headers["Location"] == f"{ITEMS}/{created['id']}"
        assert response.headers["ETag"] == '"1"'
        assert client.get(response.headers["Location"], headers=ada.headers).json() == created
        assert arrange.rows(select(models.Item.owner_id)) == [(ada.id,)]

    def test_trims_text_and_makes_a_draft_by_default(
        self, client: TestClient, ada: Account
    ) -> None:
        response = client.post(ITEMS, headers=ada.headers, json={"title": "  Engine "})

        expected = {"title": "Engine", "description": "", "status": "draft"}
        assert response.json().items() >= expected.items()

    def test_stores_text_of_all_scripts_unchanged(self, client: TestClient, ada: Account) -> None:
        content = {"title": "🎉" * 200, "description": 'Ψυχή\n"<b>" \'; DROP TABLE items; --'}

        response = client.post(ITEMS, headers=ada.headers, json=content)

        assert response.status_code == 201
        assert response.json().items() >= content.items()

    @pytest.mark.parametrize("title", ["\ufeff", "\u200b\u2060 \u00ad", "\ufe0f\u200d"])
    def test_needs_a_visible_title(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, title: str
    ) -> None:
        response = client.post(ITEMS, headers=ada.headers, json={"title": title})

        assert_invalid(response, "body.title")
        visible = {"title": f"{title}\U0001f469\u200d\U0001f4bb"}
        assert client.post(ITEMS, headers=ada.headers, json=visible).status_code == 201

    def test_needs_a_title(self, client: TestClient, arrange: ArrangeSync, ada: Account) -> None:
        response = client.post(ITEMS, headers=ada.headers, json={"description": "No title"})

        assert_invalid(response, "body.title")
        assert arrange.rows(select(models.Item.id)) == []

    def test_refuses_a_user_who_was_deleted_meanwhile(
        self, client: TestClient, app: FastAPI
    ) -> None:
        app.dependency_overrides[get_principal] = gone

        assert_problem(client.post(ITEMS, json=CONTENT), 401, "invalid_token")

    def test_is_carried_out_once_for_an_idempotency_key(
        self, client: TestClient, ada: Account
    ) -> None:
        headers = {**ada.headers, "Idempotency-Key": "8e03978e"}
        first, second = (client.post(ITEMS, headers=headers, json=CONTENT) for _ in range(2))

        assert first.json() == second.json()
        assert listed(client, ada) == [first.json()["id"]]

    async def test_sends_two_statements_like_a_list(
        self, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        ada = await arrange_own.account()
        with capture_logs() as logs:
            await own_client.post(ITEMS, headers=ada.headers, json=CONTENT)
            await own_client.get(ITEMS, headers=ada.headers)

        created, read = [each["statements"] for each in logs if each["event"] == "request"]
        # A driver may be sent a BEGIN as a statement of its own.
        assert created in {2, 3}
        assert read == 2


class TestListItems:
    def test_is_empty_at_first(self, client: TestClient, ada: Account) -> None:
        assert get_page(client, ada) == {"items": [], "next_cursor": None}

    def test_shows_items_of_the_owner_only(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, item: models.Item
    ) -> None:
        (shown,) = get_page(client, ada)["items"]

        assert shown == client.get(path_of(item), headers=ada.headers).json()
        assert listed(client, arrange.account(role="admin")) == []

    def test_shows_the_newest_first_by_default(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        first, second, third = store_items(arrange, ada, 3)

        assert listed(client, ada) == ids_of(third, second, first)

    @pytest.mark.parametrize("sort", SORTS)
    def test_walks_through_every_order_page_by_page(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, sort: str
    ) -> None:
        moments = [NOON + timedelta(minutes=minutes) for minutes in (3, 1, 2)]
        items = [
            ItemFactory.build(owner_id=ada.id, title=title, created_at=created, updated_at=updated)
            for title, created, updated in zip("bca", moments, reversed(moments), strict=True)
        ]
        same = items_of(ada, 4, title="Same", created_at=NOON, updated_at=NOON)
        arrange.store(*items, *same)

        pages = walk(client, ada, limit=2, sort=sort)

        assert [len(page) for page in pages] == [2, 2, 2, 1]
        assert [each for page in pages for each in page] == in_order([*items, *same], sort)

    def test_has_an_index_for_every_order(self) -> None:
        table = models.Item.metadata.tables["items"]
        indexed = {tuple(column.name for column in index.columns) for index in table.indexes}
        assert indexed >= {("owner_id", sort.removeprefix("-"), "id") for sort in SORTS}

    def test_continues_after_the_last_item_despite_changes(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        first, second, third = store_items(arrange, ada, 3, created_at=NOON)
        page = get_page(client, ada, limit=2, sort="created_at")

        client.delete(path_of(second), headers=ada.headers)
        store_items(arrange, ada, 1, created_at=NOON - timedelta(days=1))
        rest = get_page(client, ada, limit=2, sort="created_at", cursor=page["next_cursor"])

        assert ids_in(page) == ids_of(first, second)
        assert ids_in(rest) == ids_of(third)

    def test_keeps_the_filter_on_later_pages(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        wanted = store_items(arrange, ada, 3, status="active", title="🎉" * 200)
        store_items(arrange, ada, 3, status="archived")

        pages = walk(client, ada, limit=1, status="active", sort="title")

        assert pages == [[item_id] for item_id in ids_of(*wanted)]

    def test_filters_by_a_half_open_period(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        moments = [NOON + timedelta(seconds=seconds) for seconds in (-1, 0, 59, 60)]
        items = [store_items(arrange, ada, created_at=moment)[0] for moment in moments]

        found = listed(
            client,
            ada,
            sort="created_at",
            created_from="2026-11-21T12:00:00Z",
            created_before="2026-11-21T13:01:00+01:00",
        )

        assert found == ids_of(*items[1:3])

    @pytest.mark.parametrize(
        ("query", "title"),
        [
            ("ON BERN", "On Bernoulli numbers"),
            ("ÜBUNG", "Eine Übung"),
            ("übung", "EINE ÜBUNG"),
            ("100%", "It is 100% true"),
            ("a_b", "An a_b of its own"),
            ("a/b", "Either a/b"),
            ("a\\b", "Path a\\b"),
            ("'", "It's"),
            ("🎉", "Party 🎉!"),
        ],
    )
    def test_searches_titles_and_descriptions(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, query: str, title: str
    ) -> None:
        by_title = store_items(arrange, ada, title=title)
        by_description = store_items(arrange, ada, description=title)
        store_items(arrange, ada, title="It is 1000 times an axb, a-b, aa, ab", description="None")

        found = listed(client, ada, q=query, sort="created_at")

        assert found == ids_of(*by_title, *by_description)

    def test_combines_filters(self, client: TestClient, arrange: ArrangeSync, ada: Account) -> None:
        (wanted,) = store_items(arrange, ada, title="Engine", status="active", created_at=NOON)
        store_items(arrange, ada, title="Engine", status="draft", created_at=NOON)
        store_items(arrange, ada, title="Loom", status="active", created_at=NOON)
        store_items(arrange, ada, title="Engine", status="active")
        before = (NOON + timedelta(hours=1)).isoformat()

        found = listed(client, ada, q="engine", status="active", created_before=before)

        assert found == ids_of(wanted)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("limit", "0"),
            ("limit", "101"),
            ("sort", "description"),
            ("sort", "--title"),
            ("status", "gone"),
            ("q", ""),
            ("q", "x" * 201),
            ("q", "\x00"),
            ("created_from", "noon"),
            ("created_from", "0"),
            ("created_from", "2026-11-21T12:00:00"),
            ("created_before", "9999-12-31T23:59:59-01:00"),
            ("offset", "20"),
            ("cursor", "a=="),
            ("cursor", "a" * 2049),
            ("cursor", "garbage"),
            ("cursor", "W10"),
            ("cursor", encode_cursor("created_at", NOON, UUID(int=7))),
            ("cursor", encode_cursor("-created_at", "a title", UUID(int=7))),
        ],
    )
    def test_refuses_an_invalid_query(
        self, client: TestClient, ada: Account, field: str, value: str
    ) -> None:
        response = client.get(ITEMS, headers=ada.headers, params={field: value})

        assert_invalid(response, f"query.{field}")

    def test_refuses_a_period_that_ends_before_it_begins(
        self, client: TestClient, ada: Account
    ) -> None:
        query = {"created_from": "2026-11-22T00:00:00Z", "created_before": "2026-11-21T00:00:00Z"}

        response = client.get(ITEMS, headers=ada.headers, params=query)

        assert_problem(response, 422, "validation_error")
        assert response.json()["errors"][0]["code"] == "empty_period"

    def test_shows_no_item_of_others_for_a_forged_cursor(
        self, client: TestClient, arrange: ArrangeSync, item: models.Item
    ) -> None:
        cursor = encode_cursor("-created_at", datetime.max.replace(tzinfo=UTC), item.id)

        assert listed(client, arrange.account(), cursor=cursor) == []


class TestExportItems:
    def test_writes_the_owners_items_oldest_first(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        late, early = (
            store_items(arrange, ada, title=title, created_at=NOON + timedelta(hours=hours))[0]
            for title, hours in (("late", 1), ("early", 0))
        )
        store_items(arrange, arrange.account())

        response = client.get(EXPORT, headers=ada.headers)

        shown = {
            each["id"]: f"{each['created_at']},{each['updated_at']}"
            for each in get_page(client, ada)["items"]
        }
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert response.headers["Content-Disposition"] == 'attachment; filename="items.csv"'
        assert response.text == (
            "id,title,description,status,version,created_at,updated_at\r\n"
            f"{early.id},early,,draft,1,{shown[str(early.id)]}\r\n"
            f"{late.id},late,,draft,1,{shown[str(late.id)]}\r\n"
        )

    def test_filters_like_lists(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        store_items(arrange, ada, title="Engine", status="draft")
        store_items(arrange, ada, title="50% off", status="active", created_at=NOON)
        for query in ({"status": "active"}, {"q": "50%"}, {"created_before": NOON.isoformat()}):
            chosen = {"format": "ndjson", **query}
            response = client.get(EXPORT, headers=ada.headers, params=chosen)

            assert response.headers["Content-Type"] == "application/x-ndjson"
            lines = [json.loads(line) for line in response.text.splitlines()]
            assert lines == get_page(client, ada, **query)["items"]

    @pytest.mark.parametrize(
        ("field", "value"),
        [("format", "xlsx"), ("status", "gone"), ("sort", "title"), ("limit", "5")],
    )
    def test_refuses_an_invalid_query(
        self, client: TestClient, ada: Account, field: str, value: str
    ) -> None:
        response = client.get(EXPORT, headers=ada.headers, params={field: value})

        assert_invalid(response, f"query.{field}")


class TestGetItemStats:
    def test_counts_the_items_of_the_owner_by_status(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        store_items(arrange, ada, 2)
        store_items(arrange, ada, status="archived")
        store_items(arrange, arrange.account())

        response = client.get(f"{ITEMS}/stats", headers=ada.headers)

        assert response.status_code == 200
        assert response.json() == {"draft": 2, "active": 0, "archived": 1, "total": 3}

    def test_follows_every_change(self, client: TestClient, ada: Account) -> None:
        def stats() -> dict[str, int]:
            counts: dict[str, int] = client.get(f"{ITEMS}/stats", headers=ada.headers).json()
            return {name: number for name, number in counts.items() if number}

        assert stats() == {}
        created = client.post(ITEMS, headers=ada.headers, json={"title": "New"})
        assert stats() == {"draft": 1, "total": 1}
        path = created.headers["Location"]
        client.patch(path, headers=ada.headers, json={"status": "active"})
        assert stats() == {"active": 1, "total": 1}
        client.delete(path, headers=ada.headers)
        assert stats() == {}


class TestReadItem:
    def test_returns_the_item_and_its_version(
        self, client: TestClient, ada: Account, item: models.Item
    ) -> None:
        response = client.get(path_of(item), headers=ada.headers)

        assert response.status_code == 200
        assert response.headers["ETag"] == '"3"'
        read = response.json()
        assert read == {
            "id": str(item.id),
            "title": "Original",
            "description": "First",
            "status": "draft",
            "version": 3,
            "created_at": item.created_at.isoformat().replace("+00:00", "Z"),
            "updated_at": read["updated_at"],
        }
        assert read["updated_at"] > read["created_at"]

    @pytest.mark.parametrize(
        ("tag", "status"), [('"3"', 304), ('"1", W/"3"', 304), ('W/"2"', 200), ("", 200)]
    )
    def test_does_not_repeat_a_version_that_the_client_has(
        self, client: TestClient, ada: Account, item: models.Item, tag: str, status: int
    ) -> None:
        response = client.get(path_of(item), headers={**ada.headers, "If-None-Match": tag})

        assert response.status_code == status
        assert response.headers["ETag"] == '"3"'
        assert bool(response.content) is (status == 200)

    def test_refuses_a_header_that_is_too_long(
        self, client: TestClient, ada: Account, item: models.Item
    ) -> None:
        headers = {**ada.headers, "If-None-Match": "x" * 1001}

        assert_invalid(client.get(path_of(item), headers=headers), "header.If-None-Match")


class TestReplaceItem:
    def test_replaces_all_fields(self, client: TestClient, ada: Account, item: models.Item) -> None:
        before = client.get(path_of(item), headers=ada.headers).json()

        response = client.put(path_of(item), headers=ada.headers, json={"title": "New"})

        assert response.status_code == 200
        assert response.headers["ETag"] == '"4"'
        replaced = response.json()
        expected = {"title": "New", "description": "", "status": "draft", "version": 4}
        assert replaced.items() >= {**expected, "created_at": before["created_at"]}.items()
        assert replaced["updated_at"] > before["updated_at"]
        assert client.get(path_of(item), headers=ada.headers).json() == replaced

    def test_keeps_the_version_if_nothing_changes(
        self, client: TestClient, ada: Account, item: models.Item
    ) -> None:
        before = client.get(path_of(item), headers=ada.headers).json()
        same = {"title": "Original", "description": "First", "status": "draft"}

        response = client.put(path_of(item), headers=ada.headers, json=same)

        assert response.headers["ETag"] == '"3"'
        assert response.json() == before

    def test_needs_a_title(self, client: TestClient, ada: Account, item: models.Item) -> None:
        response = client.put(path_of(item), headers=ada.headers, json={"status": "active"})

        assert_invalid(response, "body.title")

    async def test_lets_one_of_two_edits_of_a_version_win(
        self, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        ada = await arrange_own.account()
        (item,) = items_of(ada)
        await arrange_own.store(item)
        headers = {**ada.headers, "If-Match": '"1"'}

        responses = await asyncio.gather(
            own_client.put(path_of(item), headers=headers, json={"title": "One"}),
            own_client.put(path_of(item), headers=headers, json={"title": "Two"}),
        )

        assert sorted(response.status_code for response in responses) == [200, 412]

    async def test_loses_no_edit_without_a_version(
        self, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        ada = await arrange_own.account()
        (item,) = items_of(ada)
        await arrange_own.store(item)

        responses = await asyncio.gather(
            *(
                own_client.put(path_of(item), headers=ada.headers, json={"title": title})
                for title in ("One", "Two", "Three", "Four")
            )
        )

        assert sorted(response.json()["version"] for response in responses) == [2, 3, 4, 5]


class TestChangeItem:
    @pytest.mark.parametrize(
        "changes",
        [
            {"title": "Changed"},
            {"description": ""},
            {"status": "archived"},
            {"title": "Changed", "status": "active"},
        ],
    )
    def test_updates_only_the_given_fields(
        self, client: TestClient, ada: Account, item: models.Item, changes: dict[str, str]
    ) -> None:
        before = client.get(path_of(item), headers=ada.headers).json()

        response = client.patch(path_of(item), headers=ada.headers, json=changes)

        assert response.status_code == 200
        assert response.headers["ETag"] == '"4"'
        after = response.json()
        assert after["updated_at"] > before["updated_at"]
        assert after == {**before, **changes, "version": 4, "updated_at": after["updated_at"]}
        assert client.get(path_of(item), headers=ada.headers).json() == after

    def test_changes_nothing_without_fields(
        self, client: TestClient, ada: Account, item: models.Item
    ) -> None:
        before = client.get(path_of(item), headers=ada.headers).json()

        response = client.patch(path_of(item), headers=ada.headers, json={})

        assert response.status_code == 200
        assert response.json() == before


class TestDeleteItem:
    def test_deletes_the_item_once(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, item: models.Item
    ) -> None:
        (other,) = store_items(arrange, ada)

        first, second = (client.delete(path_of(item), headers=ada.headers) for _ in range(2))

        assert (first.status_code, first.content) == (204, b"")
        assert_problem(second, 404, "item_not_found")
        assert listed(client, ada) == ids_of(other)


@pytest.mark.parametrize(("method", "options"), WRITES)
class TestIfMatch:
    @pytest.mark.parametrize("tag", ['"3"', "*", '"1", "3"'])
    def test_accepts_a_client_that_has_seen_the_version(
        self,
        client: TestClient,
        ada: Account,
        item: models.Item,
        method: str,
        options: dict[str, Any],
        tag: str,
    ) -> None:
        headers = {**ada.headers, "If-Match": tag}

        assert client.request(method, path_of(item), headers=headers, **options).is_success

    @pytest.mark.parametrize("tag", ['"2"', "3", '"1", "2"', "", 'W/"3"'])
    def test_refuses_a_client_that_has_not(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        ada: Account,
        item: models.Item,
        method: str,
        options: dict[str, Any],
        tag: str,
    ) -> None:
        headers = {**ada.headers, "If-Match": tag}

        response = client.request(method, path_of(item), headers=headers, **options)

        assert_problem(response, 412, "precondition_failed")
        assert response.json()["detail"].startswith("The current version is 3. Read")
        assert stored(arrange, item) == ("Original", "First", "draft", 3)

    @pytest.mark.parametrize(
        ("header", "is_true"),
        [("*", False), ('"3"', False), ('"1", W/"3"', False), ('"2"', True), ('*, "2"', True)],
    )
    def test_refuses_a_client_that_expects_another_version_or_none(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        ada: Account,
        item: models.Item,
        method: str,
        options: dict[str, Any],
        header: str,
        is_true: bool,
    ) -> None:
        headers = {**ada.headers, "If-None-Match": header}

        response = client.request(method, path_of(item), headers=headers, **options)

        assert response.is_success is is_true
        if not is_true:
            assert_problem(response, 412, "precondition_failed")
            assert stored(arrange, item) == ("Original", "First", "draft", 3)

    def test_does_not_find_a_missing_item_and_refuses_a_long_header(
        self, client: TestClient, ada: Account, method: str, options: dict[str, Any]
    ) -> None:
        for header, status in (('"1"', 404), ("x" * 1001, 422)):
            headers = {**ada.headers, "If-Match": header}
            response = client.request(method, NOBODYS, headers=headers, **options)

            assert response.status_code == status


class RecordedEvents:
    """Records published events, then fails if requested."""

    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[object] = []
        self.error = error

    async def publish(self, event: object) -> None:
        self.events.append(event)
        if self.error is not None:
            raise self.error


class TestEvents:
    def test_are_published_for_every_change(
        self, client: TestClient, ada: Account, use: Callable[..., None]
    ) -> None:
        recorded = RecordedEvents()
        use(events=recorded)
        created = client.post(ITEMS, headers=ada.headers, json={"title": "Note A"}).json()
        path = f"{ITEMS}/{created['id']}"
        for changes in ({"status": "active"}, {"status": "active"}):
            client.patch(path, headers=ada.headers, json=changes)
        client.put(path, headers=ada.headers, json={"title": "Note B"})
        client.delete(path, headers=ada.headers)

        item_id = ItemId(UUID(created["id"]))
        expected: list[ItemEvent] = [
            ItemCreated(ada.id, item_id, 1),
            ItemChanged(ada.id, item_id, 2),
            ItemChanged(ada.id, item_id, 3),
            ItemDeleted(ada.id, item_id, 3),
        ]
        assert recorded.events == expected

    def test_do_not_undo_the_change_if_they_fail(
        self, client: TestClient, ada: Account, use: Callable[..., None]
    ) -> None:
        use(events=RecordedEvents(OSError("nobody listens")))

        response = client.post(ITEMS, headers=ada.headers, json={"title": "Note A"})

        assert response.status_code == 201
        assert client.get(response.headers["Location"], headers=ada.headers).status_code == 200


def path_of(item: models.Item) -> str:
    return f"{ITEMS}/{item.id}"


def ids_of(*items: models.Item) -> list[str]:
    return [str(item.id) for item in items]


def ids_in(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["items"]]


def in_order(items: list[models.Item], sort: str) -> list[str]:
    """Return the expected list, computed without the database."""
    name = sort.removeprefix("-")
    ordered = sorted(items, key=lambda item: (getattr(item, name), item.id))
    return ids_of(*(reversed(ordered) if sort.startswith("-") else ordered))


def get_page(client: TestClient, owner: Account, **query: Any) -> dict[str, Any]:
    response = client.get(ITEMS, headers=owner.headers, params=query)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


def listed(client: TestClient, owner: Account, **query: Any) -> list[str]:
    return ids_in(get_page(client, owner, **query))


def walk(client: TestClient, owner: Account, **query: Any) -> list[list[str]]:
    """Return all pages, fetched one after another; at most ten."""
    page = get_page(client, owner, **query)
    pages = [ids_in(page)]
    while page["next_cursor"] is not None and len(pages) < 10:
        page = get_page(client, owner, **{**query, "cursor": page["next_cursor"]})
        pages.append(ids_in(page))
    return pages


def stored(arrange: ArrangeSync, item: models.Item) -> tuple[Any, ...]:
    row = models.Item
    columns = (row.title, row.description, row.status, row.version)
    (found,) = arrange.rows(select(*columns).where(row.id == item.id))
    return tuple(found)


def assert_problem(response: httpx2.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.json()["code"] == code


def assert_invalid(response: httpx2.Response, field: str) -> None:
    assert_problem(response, 422, "validation_error")
    assert [error["field"] for error in response.json()["errors"]] == [field]
