"""Items."""

# {% block imports %}
# {% endblock %}
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
from app.config import Settings
from app.domain.items import ItemChanged, ItemCreated, ItemDeleted, ItemEvent, ItemId
from app.infrastructure.database.repository import encode_cursor, table_of
from tests.support.arrange import Account, Arrange, ArrangeSync, gone
from tests.support.items import item_content, new_items, store_items
from tests.support.lists import (
    RecordedEvents,
    assert_invalid,
    assert_problem,
    get_page,
    ids_in,
    ids_of,
    in_order,
    listed,
    walk,
)

ITEMS = "/api/v1/items"
EXPORT = f"{ITEMS}/export"
NOBODYS = f"{ITEMS}/01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
# {% block values %}
REQUIRED = ["title"]
DEFAULTS: dict[str, Any] = {"description": "", "status": "draft"}
CHANGES: dict[str, Any] = {
    "title": "Title 1",
    "description": "Description 1",
    "status": "archived",
}
EDITS: list[dict[str, Any]] = [
    {"title": value} for value in ("Title 2", "Title 3", "Title 4", "Title 5")
]
BAD: list[tuple[str, object]] = [
    ("title", ""),
    ("title", " \u2003 "),
    ("title", "\ufeff\u200b"),
    ("title", "x" * 201),
    ("title", "two\nlines"),
    ("title", 42),
    ("title", None),
    ("description", "x" * 10_001),
    ("description", "\x00"),
    ("description", 42),
    ("description", None),
    ("status", "unknown"),
    ("status", 42),
    ("status", None),
]
ORDERED: dict[str, list[Any]] = {"title": ["Title 2", "Title 3", "Title 1"]}
FILTERS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"status": "active"}, {"status": "active"}, {"status": "archived"}),
]
# {% endblock %}
SORTS = [f"{sign}{name}" for name in ("created_at", "updated_at", *ORDERED) for sign in ("", "-")]
WRITES = ["PUT", "PATCH", "DELETE"]


@pytest.fixture
def item(client: TestClient, arrange: ArrangeSync, ada: Account) -> dict[str, Any]:
    """An item of Ada's at version 3."""
    content = item_content(arrange, ada)
    response = client.post(ITEMS, headers=ada.headers, json=content)
    assert response.status_code == 201, response.text
    path = response.headers["Location"]
    client.patch(path, headers=ada.headers, json=item_content(arrange, ada) | CHANGES)
    changed: dict[str, Any] = client.patch(path, headers=ada.headers, json=content).json()
    return changed


@pytest.fixture
def send(client: TestClient, arrange: ArrangeSync, ada: Account) -> Callable[..., httpx2.Response]:
    """Send a request with a body that suits its method."""

    def sent(method: str, path: str, headers: dict[str, str], **fields: Any) -> httpx2.Response:
        body = item_content(arrange, ada) | fields if method in {"POST", "PUT", "PATCH"} else None
        return client.request(method, path, headers=headers, json=body)

    return sent


class TestAnyItemOperation:
    @pytest.mark.parametrize(("method", "path"), [("POST", ITEMS), ("PATCH", NOBODYS)])
    @pytest.mark.parametrize(
        ("field", "value"), [*BAD, ("owner_id", str(UUID(int=7))), ("version", 7)]
    )
    def test_refuses_bad_content(
        self,
        ada: Account,
        send: Callable[..., httpx2.Response],
        method: str,
        path: str,
        field: str,
        value: object,
    ) -> None:
        assert_invalid(send(method, path, ada.headers, **{field: value}), f"body.{field}")

    # {% block hidden %}
    @pytest.mark.parametrize("method", ["GET", *WRITES])
    # {% endblock %}
    def test_does_not_find_another_users_item(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        ada: Account,
        item: dict[str, Any],
        send: Callable[..., httpx2.Response],
        method: str,
    ) -> None:
        mallory = arrange.account(role="admin")
        headers = {**mallory.headers, "If-Match": "*", "If-None-Match": "*"}

        assert_problem(send(method, path_of(item), headers), 404, "item_not_found")
        assert client.get(path_of(item), headers=ada.headers).json() == item


class TestCreateItem:
    def test_returns_item_location_and_version(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        content = item_content(arrange, ada)

        response = client.post(ITEMS, headers=ada.headers, json=content)

        assert response.status_code == 201
        created = response.json()
        assert created == {
            **content,
            "id": created["id"],
            "version": 1,
            "created_at": created["created_at"],
            "updated_at": created["created_at"],
        }
        assert response.headers["Location"] == f"{ITEMS}/{created['id']}"
        assert response.headers["ETag"] == '"1"'
        assert client.get(response.headers["Location"], headers=ada.headers).json() == created
        assert arrange.rows(select(models.Item.owner_id)) == [(ada.id,)]

    def test_fills_in_defaults(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        content = item_content(arrange, ada)
        given = {name: content[name] for name in REQUIRED}

        response = client.post(ITEMS, headers=ada.headers, json=given)

        assert response.status_code == 201
        assert response.json().items() >= {**given, **DEFAULTS}.items()

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_needs_the_required_fields(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, method: str
    ) -> None:
        path = {"POST": ITEMS, "PUT": NOBODYS}[method]
        for field in REQUIRED:
            content = item_content(arrange, ada)
            del content[field]
            response = client.request(method, path, headers=ada.headers, json=content)
            assert_invalid(response, f"body.{field}")
        assert arrange.rows(select(models.Item.id)) == []

    # {% block statements %}
    async def test_sends_two_statements_like_a_list(
        self, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        ada = await arrange_own.account()
        with capture_logs() as logs:
            await own_client.post(ITEMS, headers=ada.headers, json=CHANGES)
            await own_client.get(ITEMS, headers=ada.headers)

        created, read = [each["statements"] for each in logs if each["event"] == "request"]
        # A driver may be sent a BEGIN as a statement of its own.
        assert created in {2, 3}
        # {% block read %}
        assert read == 2
        # {% endblock %}

    # {% endblock %}
    # {% block texts %}
    def test_trims_text_and_keeps_all_scripts(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        for field in ["title", "description"]:
            text = 'Ψυχή "<b>" \'; DROP TABLE items; -- \U0001f469\u200d\U0001f4bb'
            content = item_content(arrange, ada, **{field: f"  {text}\u2003"})
            response = client.post(ITEMS, headers=ada.headers, json=content)
            assert response.json()[field] == text

    # {% endblock %}
    # {% block unique %}
    # {% endblock %}
    # {% block relations %}
    # {% endblock %}
    def test_refuses_more_than_the_quota(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        ada: Account,
        settings: Settings,
        use: Callable[..., None],
    ) -> None:
        quotas = settings.quotas.model_copy(update={"items": 3})
        use(settings=settings.model_copy(update={"quotas": quotas}))
        first, *_ = store_items(arrange, ada, 3)
        other = arrange.account()

        def create(owner: Account) -> httpx2.Response:
            content = item_content(arrange, owner)
            return client.post(ITEMS, headers=owner.headers, json=content)

        assert_problem(create(ada), 409, "too_many_items")
        assert create(other).status_code == 201
        assert client.delete(f"{ITEMS}/{first.id}", headers=ada.headers).status_code == 204
        assert create(ada).status_code == 201

    # {% block orphan %}
    def test_refuses_a_user_who_was_deleted_meanwhile(
        self, client: TestClient, app: FastAPI, arrange: ArrangeSync, ada: Account
    ) -> None:
        content = item_content(arrange, ada)
        app.dependency_overrides[get_principal] = gone

        assert_problem(client.post(ITEMS, json=content), 401, "invalid_token")

    # {% endblock %}
    def test_is_carried_out_once_for_an_idempotency_key(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        content = item_content(arrange, ada)
        headers = {**ada.headers, "Idempotency-Key": "8e03978e"}
        first, second = (client.post(ITEMS, headers=headers, json=content) for _ in range(2))

        assert first.json() == second.json()
        assert listed(client, ITEMS, ada) == [first.json()["id"]]


class TestListItems:
    def test_is_empty_at_first(self, client: TestClient, ada: Account) -> None:
        assert get_page(client, ITEMS, ada) == {"items": [], "next_cursor": None}

    # {% block shown %}
    def test_shows_items_of_the_owner_only(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, item: dict[str, Any]
    ) -> None:
        assert get_page(client, ITEMS, ada)["items"] == [item]
        assert listed(client, ITEMS, arrange.account(role="admin")) == []

    # {% endblock %}
    def test_shows_the_newest_first_by_default(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        first, second, third = store_items(arrange, ada, 3)

        assert listed(client, ITEMS, ada) == ids_of(third, second, first)

    @pytest.mark.parametrize("sort", SORTS)
    def test_walks_through_every_order_page_by_page(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, sort: str
    ) -> None:
        moments = [NOON + timedelta(minutes=minutes) for minutes in (3, 1, 2)]
        keys = {"created_at": moments, "updated_at": moments[::-1], **ORDERED}
        items = [
            store_items(arrange, ada, **{name: values[index] for name, values in keys.items()})[0]
            for index in range(3)
        ]
        same = store_items(arrange, ada, 4, created_at=NOON, updated_at=NOON)

        pages = walk(client, ITEMS, ada, limit=2, sort=sort)

        assert [len(page) for page in pages] == [2, 2, 2, 1]
        assert [each for page in pages for each in page] == in_order([*items, *same], sort)

    def test_has_an_index_for_every_order(self) -> None:
        indexes = table_of(models.Item).indexes
        indexed = {tuple(column.name for column in index.columns) for index in indexes}
        # {% block indexed %}
        assert indexed >= {("owner_id", sort.removeprefix("-"), "id") for sort in SORTS}
        # {% endblock %}

    def test_continues_after_the_last_item_despite_changes(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        first, second, third = store_items(arrange, ada, 3, created_at=NOON)
        page = get_page(client, ITEMS, ada, limit=2, sort="created_at")

        client.delete(f"{ITEMS}/{second.id}", headers=ada.headers)
        store_items(arrange, ada, 1, created_at=NOON - timedelta(days=1))
        rest = get_page(client, ITEMS, ada, limit=2, sort="created_at", cursor=page["next_cursor"])

        assert ids_in(page) == ids_of(first, second)
        assert ids_in(rest) == ids_of(third)

    # {% block filters %}
    @pytest.mark.parametrize(("query", "matching", "other"), FILTERS)
    def test_filters_and_keeps_the_filter_on_later_pages(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        ada: Account,
        query: dict[str, Any],
        matching: dict[str, Any],
        other: dict[str, Any],
    ) -> None:
        wanted = [store_items(arrange, ada, **matching)[0] for _ in range(3)]
        for _ in range(3):
            store_items(arrange, ada, **other)

        pages = walk(client, ITEMS, ada, limit=1, sort="created_at", **query)

        assert pages == [[item_id] for item_id in ids_of(*wanted)]

    # {% endblock %}
    # {% block related %}
    # {% endblock %}
    def test_filters_by_a_half_open_period(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        moments = [NOON + timedelta(seconds=seconds) for seconds in (-1, 0, 59, 60)]
        items = [store_items(arrange, ada, created_at=moment)[0] for moment in moments]
        period = {
            "created_from": "2026-11-21T12:00:00Z",
            "created_before": "2026-11-21T13:01:00+01:00",
        }

        assert listed(client, ITEMS, ada, sort="created_at", **period) == ids_of(*items[1:3])

    # {% block search %}
    @pytest.mark.parametrize(
        ("query", "text"),
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
    def test_searches(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, query: str, text: str
    ) -> None:
        fields = ["title", "description"]
        found = [store_items(arrange, ada, 1, **{field: text})[0] for field in fields]
        for field in fields:
            store_items(arrange, ada, 1, **{field: "It is 1000 times an axb, a-b, aa, ab"})

        assert listed(client, ITEMS, ada, q=query, sort="created_at") == ids_of(*found)

    # {% endblock %}
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("limit", "0"),
            ("limit", "101"),
            ("sort", "version"),
            ("sort", "--created_at"),
            # {% block bad_filters %}
            ("status", "unknown"),
            ("q", ""),
            ("q", "x" * 201),
            ("q", "\x00"),
            # {% endblock %}
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

    # {% block forged %}
    def test_shows_no_item_of_others_for_a_forged_cursor(
        self, client: TestClient, arrange: ArrangeSync, item: dict[str, Any]
    ) -> None:
        latest = datetime.max.replace(tzinfo=UTC)
        cursor = encode_cursor("-created_at", latest, UUID(item["id"]))

        assert listed(client, ITEMS, arrange.account(), cursor=cursor) == []

    # {% endblock %}
    def test_refuses_a_period_that_ends_before_it_begins(
        self, client: TestClient, ada: Account
    ) -> None:
        query = {"created_from": "2026-11-22T00:00:00Z", "created_before": "2026-11-21T00:00:00Z"}

        response = client.get(ITEMS, headers=ada.headers, params=query)

        assert_problem(response, 422, "validation_error")
        assert response.json()["errors"][0]["code"] == "empty_period"


# {% block export %}
class TestExportItems:
    def test_writes_the_owners_items_oldest_first(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        late, early = (
            store_items(arrange, ada, created_at=NOON + timedelta(hours=hours))[0]
            for hours in (1, 0)
        )
        # {% block others %}
        store_items(arrange, arrange.account())
        # {% endblock %}

        response = client.get(EXPORT, headers=ada.headers)

        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert response.headers["Content-Disposition"] == 'attachment; filename="items.csv"'
        header, *lines = response.text.splitlines()
        shown = client.get(path_of(early), headers=ada.headers).json()
        assert sorted(header.split(",")) == sorted(shown)
        assert [line.split(",")[0] for line in lines] == ids_of(early, late)

    def test_filters_like_lists(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        for _, matching, other in FILTERS:
            store_items(arrange, ada, **matching)
            store_items(arrange, ada, **other)
        store_items(arrange, ada, created_at=NOON)
        for query in (*(query for query, *_ in FILTERS), {"created_before": NOON.isoformat()}):
            chosen = {"format": "ndjson", **query}
            response = client.get(EXPORT, headers=ada.headers, params=chosen)

            assert response.headers["Content-Type"] == "application/x-ndjson"
            lines = [json.loads(line) for line in response.text.splitlines()]
            page = get_page(client, ITEMS, ada, sort="created_at", limit=100, **query)
            assert lines == page["items"]

    @pytest.mark.parametrize(
        ("field", "value"), [("format", "xlsx"), ("sort", "created_at"), ("limit", "5")]
    )
    def test_refuses_an_invalid_query(
        self, client: TestClient, ada: Account, field: str, value: str
    ) -> None:
        response = client.get(EXPORT, headers=ada.headers, params={field: value})

        assert_invalid(response, f"query.{field}")


# {% endblock %}
# {% block stats %}
class TestGetItemStats:
    # {% block counts %}
    def test_counts_the_items_of_the_owner_by_status(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        store_items(arrange, ada, 2, status="draft")
        store_items(arrange, ada, status="archived")
        store_items(arrange, arrange.account())

        response = client.get(f"{ITEMS}/stats", headers=ada.headers)

        assert response.status_code == 200
        assert response.json() == {"draft": 2, "active": 0, "archived": 1, "total": 3}

    def test_follows_every_change(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        def stats() -> dict[str, int]:
            counts: dict[str, int] = client.get(f"{ITEMS}/stats", headers=ada.headers).json()
            return {name: number for name, number in counts.items() if number}

        assert stats() == {}
        content = item_content(arrange, ada, status="draft")
        created = client.post(ITEMS, headers=ada.headers, json=content).json()
        assert stats() == {"draft": 1, "total": 1}
        client.patch(path_of(created), headers=ada.headers, json={"status": "archived"})
        assert stats() == {"archived": 1, "total": 1}
        client.delete(path_of(created), headers=ada.headers)
        assert stats() == {}


# {% endblock %}
# {% endblock %}
class TestGetItem:
    @pytest.mark.parametrize(
        ("etag", "expected"), [('"3"', 304), ('"1", W/"3"', 304), ('W/"2"', 200), ("", 200)]
    )
    def test_does_not_repeat_a_version_that_the_client_has(
        self, client: TestClient, ada: Account, item: dict[str, Any], etag: str, expected: int
    ) -> None:
        response = client.get(path_of(item), headers={**ada.headers, "If-None-Match": etag})

        assert response.status_code == expected
        assert response.headers["ETag"] == '"3"'
        assert bool(response.content) is (expected == 200)

    def test_refuses_a_header_that_is_too_long(
        self, client: TestClient, ada: Account, item: dict[str, Any]
    ) -> None:
        headers = {**ada.headers, "If-None-Match": "x" * 1001}

        assert_invalid(client.get(path_of(item), headers=headers), "header.If-None-Match")


class TestReplaceItem:
    def test_replaces_all_fields(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, item: dict[str, Any]
    ) -> None:
        content = item_content(arrange, ada, **CHANGES)
        given = {name: content[name] for name in REQUIRED}

        response = client.put(path_of(item), headers=ada.headers, json=given)

        assert response.status_code == 200
        assert response.headers["ETag"] == '"4"'
        replaced = response.json()
        expected = {**given, **DEFAULTS, "version": 4, "created_at": item["created_at"]}
        assert replaced.items() >= expected.items()
        assert replaced["updated_at"] > item["updated_at"]
        assert client.get(path_of(item), headers=ada.headers).json() == replaced

    def test_keeps_the_version_if_nothing_changes(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, item: dict[str, Any]
    ) -> None:
        same = {name: item[name] for name in item_content(arrange, ada)}

        response = client.put(path_of(item), headers=ada.headers, json=same)

        assert response.headers["ETag"] == '"3"'
        assert response.json() == item


class TestChangeItem:
    # {% block changes %}
    @pytest.mark.parametrize("field", CHANGES)
    def test_updates_only_the_given_field(
        self, client: TestClient, ada: Account, item: dict[str, Any], field: str
    ) -> None:
        changes = {field: CHANGES[field]}

        response = client.patch(path_of(item), headers=ada.headers, json=changes)

        assert response.status_code == 200
        assert response.headers["ETag"] == '"4"'
        after = response.json()
        assert after["updated_at"] > item["updated_at"]
        assert after == {**item, **changes, "version": 4, "updated_at": after["updated_at"]}
        assert client.get(path_of(item), headers=ada.headers).json() == after

    # {% endblock %}
    # {% block edits %}
    async def test_lets_one_of_two_edits_of_a_version_win(
        self, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        ada = await arrange_own.account()
        *others, item = new_items(ada)
        await arrange_own.store(*others, item)
        headers = {**ada.headers, "If-Match": '"1"'}

        responses = await asyncio.gather(
            *(own_client.patch(f"{ITEMS}/{item.id}", headers=headers, json=e) for e in EDITS[:2])
        )

        assert sorted(response.status_code for response in responses) == [200, 412]

    async def test_loses_no_edit_without_a_version(
        self, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        ada = await arrange_own.account()
        *others, item = new_items(ada)
        await arrange_own.store(*others, item)

        responses = await asyncio.gather(
            *(own_client.patch(f"{ITEMS}/{item.id}", headers=ada.headers, json=e) for e in EDITS)
        )

        assert sorted(response.json()["version"] for response in responses) == [2, 3, 4, 5]

    # {% endblock %}
    def test_changes_nothing_without_fields(
        self, client: TestClient, ada: Account, item: dict[str, Any]
    ) -> None:
        response = client.patch(path_of(item), headers=ada.headers, json={})

        assert response.status_code == 200
        assert response.json() == item


class TestDeleteItem:
    def test_deletes_the_item_once(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, item: dict[str, Any]
    ) -> None:
        (other,) = store_items(arrange, ada)

        first, second = (client.delete(path_of(item), headers=ada.headers) for _ in range(2))

        assert (first.status_code, first.content) == (204, b"")
        assert_problem(second, 404, "item_not_found")
        assert listed(client, ITEMS, ada) == ids_of(other)


@pytest.mark.parametrize("method", WRITES)
class TestIfMatch:
    @pytest.mark.parametrize("etag", ['"3"', "*", '"1", "3"'])
    def test_accepts_a_client_that_has_seen_the_version(
        self,
        ada: Account,
        item: dict[str, Any],
        send: Callable[..., httpx2.Response],
        method: str,
        etag: str,
    ) -> None:
        headers = {**ada.headers, "If-Match": etag}

        assert send(method, path_of(item), headers).is_success

    @pytest.mark.parametrize("etag", ['"2"', "3", '"1", "2"', "", 'W/"3"'])
    def test_refuses_a_client_that_has_not(
        self,
        client: TestClient,
        ada: Account,
        item: dict[str, Any],
        send: Callable[..., httpx2.Response],
        method: str,
        etag: str,
    ) -> None:
        response = send(method, path_of(item), {**ada.headers, "If-Match": etag})

        assert_problem(response, 412, "precondition_failed")
        assert response.json()["detail"].startswith("The current version is 3. Read")
        assert client.get(path_of(item), headers=ada.headers).json() == item

    @pytest.mark.parametrize(
        ("header", "is_true"),
        [("*", False), ('"3"', False), ('"1", W/"3"', False), ('"2"', True), ('*, "2"', True)],
    )
    def test_refuses_a_client_that_expects_another_version_or_none(
        self,
        client: TestClient,
        ada: Account,
        item: dict[str, Any],
        send: Callable[..., httpx2.Response],
        method: str,
        header: str,
        is_true: bool,
    ) -> None:
        response = send(method, path_of(item), {**ada.headers, "If-None-Match": header})

        assert response.is_success is is_true
        if not is_true:
            assert_problem(response, 412, "precondition_failed")
            assert client.get(path_of(item), headers=ada.headers).json() == item

    def test_does_not_find_a_missing_item_and_refuses_a_long_header(
        self, ada: Account, send: Callable[..., httpx2.Response], method: str
    ) -> None:
        for header, expected in (('"1"', 404), ("x" * 1001, 422)):
            response = send(method, NOBODYS, {**ada.headers, "If-Match": header})

            assert response.status_code == expected


class TestEvents:
    def test_are_published_for_every_change(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, use: Callable[..., None]
    ) -> None:
        recorded = RecordedEvents()
        use(events=recorded)
        content = item_content(arrange, ada)
        created = client.post(ITEMS, headers=ada.headers, json=content).json()
        changes = item_content(arrange, ada) | CHANGES
        for _ in range(2):
            client.patch(path_of(created), headers=ada.headers, json=changes)
        client.put(path_of(created), headers=ada.headers, json=content)
        client.delete(path_of(created), headers=ada.headers)

        item_id = ItemId(UUID(created["id"]))
        expected: list[ItemEvent] = [
            ItemCreated(ada.id, item_id, 1),
            ItemChanged(ada.id, item_id, 2),
            ItemChanged(ada.id, item_id, 3),
            ItemDeleted(ada.id, item_id, 3),
        ]
        assert recorded.events == expected

    def test_do_not_undo_the_change_if_they_fail(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, use: Callable[..., None]
    ) -> None:
        use(events=RecordedEvents(OSError("nobody listens")))

        response = client.post(ITEMS, headers=ada.headers, json=item_content(arrange, ada))

        assert response.status_code == 201
        assert client.get(response.headers["Location"], headers=ada.headers).status_code == 200


def path_of(item: Any) -> str:
    """Return the path of an item, from a row or an answer."""
    item_id = item["id"] if isinstance(item, dict) else item.id
    return f"{ITEMS}/{item_id}"
