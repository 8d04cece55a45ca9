"""Items: the example resource."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app import models
from app.api.deps.auth import get_principal
from app.core.ids import new_id
from app.infrastructure.database.repository import encode_cursor
from tests.support.arrange import Arrange, ArrangeSync, Someone, gone
from tests.support.factories import ItemFactory

ITEMS = "/api/v1/items"
NOBODYS = f"{ITEMS}/01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
CONTENT = {"title": "Bernoulli numbers", "description": "Note G.", "status": "active"}

WITH_A_BODY = [
    pytest.param("POST", ITEMS, id="create"),
    pytest.param("PATCH", NOBODYS, id="change"),
]
OF_ONE_ITEM = [
    pytest.param("GET", {}, id="read"),
    pytest.param("PUT", {"json": CONTENT}, id="replace"),
    pytest.param("PATCH", {"json": {"title": "Mine now"}}, id="change"),
    pytest.param("DELETE", {}, id="delete"),
]
WRITES = OF_ONE_ITEM[1:]
BAD_TITLES = [
    pytest.param("", id="empty"),
    pytest.param(" \u2003 ", id="white space"),
    pytest.param("x" * 201, id="too long"),
    pytest.param("two\nlines", id="two lines"),
    pytest.param("nul\x00", id="nul"),
    pytest.param(None, id="null"),
    pytest.param(42, id="number"),
]
BAD_CONTENT = [
    *(pytest.param({"title": p.values[0]}, "body.title", id=f"title {p.id}") for p in BAD_TITLES),
    pytest.param({"description": "x" * 10_001}, "body.description", id="description too long"),
    pytest.param({"description": "\x00"}, "body.description", id="description nul"),
    pytest.param({"description": None}, "body.description", id="description null"),
    pytest.param({"status": "gone"}, "body.status", id="status unknown"),
    pytest.param({"status": None}, "body.status", id="status null"),
    pytest.param({"owner_id": str(uuid4())}, "body.owner_id", id="field unknown"),
    pytest.param({"version": 7}, "body.version", id="field of ours"),
]
SORTS = ["created_at", "-created_at", "updated_at", "-updated_at", "title", "-title"]
MATCHING_TAGS = [
    pytest.param('"3"', id="the tag"),
    pytest.param("*", id="any"),
    pytest.param('"1", "3"', id="in a list"),
    pytest.param('"1","3"', id="in a tight list"),
]
OTHER_TAGS = [
    pytest.param('"2"', id="another tag"),
    pytest.param("3", id="no quotes"),
    pytest.param('"1", "2"', id="a list of others"),
    pytest.param("", id="empty"),
]


@pytest.fixture
def ada(arrange: ArrangeSync) -> Someone:
    return arrange.someone()


@pytest.fixture
def item(client: TestClient, arrange: ArrangeSync, ada: Someone) -> models.Item:
    """An item of Ada's that has been changed twice."""
    (item,) = arrange.items(ada, title="Original", description="Brand new")
    for description in ("New", "First"):
        client.patch(path_of(item), headers=ada.headers, json={"description": description})
    return item


class TestAnyItemOperation:
    @pytest.mark.parametrize(("method", "path"), WITH_A_BODY)
    @pytest.mark.parametrize(("content", "field"), BAD_CONTENT)
    def test_refuses_bad_content(
        self,
        client: TestClient,
        ada: Someone,
        method: str,
        path: str,
        content: dict[str, Any],
        field: str,
    ) -> None:
        response = client.request(method, path, headers=ada.headers, json={**CONTENT, **content})

        assert_invalid(response, field)

    @pytest.mark.parametrize(("method", "options"), OF_ONE_ITEM)
    def test_does_not_find_what_is_anothers(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        item: models.Item,
        method: str,
        options: dict[str, Any],
    ) -> None:
        mallory = arrange.someone(role="admin")
        headers = {**mallory.headers, "If-Match": "*", "If-None-Match": "*"}

        response = client.request(method, path_of(item), headers=headers, **options)

        assert_problem(response, 404, "item_not_found")
        assert stored(arrange, item) == ("Original", "First", "draft", 3)


class TestCreateItem:
    def test_answers_with_the_item(self, client: TestClient, ada: Someone) -> None:
        response = client.post(ITEMS, headers=ada.headers, json=CONTENT)

        assert response.status_code == 201
        created = response.json()
        assert created.items() >= {**CONTENT, "version": 1}.items()
        assert created["updated_at"] == created["created_at"]

    def test_tells_where_the_item_is_and_its_version(
        self, client: TestClient, ada: Someone
    ) -> None:
        response = client.post(ITEMS, headers=ada.headers, json=CONTENT)

        assert response.headers["Location"] == f"{ITEMS}/{response.json()['id']}"
        assert response.headers["ETag"] == '"1"'
        again = client.get(response.headers["Location"], headers=ada.headers)
        assert again.json() == response.json()

    def test_makes_a_draft_unless_told_otherwise(self, client: TestClient, ada: Someone) -> None:
        response = client.post(ITEMS, headers=ada.headers, json={"title": "Alone"})

        assert response.json().items() >= {"description": "", "status": "draft"}.items()

    def test_trims_white_space(self, client: TestClient, ada: Someone) -> None:
        content = {"title": "  Engine ", "description": "\n notes \t"}

        response = client.post(ITEMS, headers=ada.headers, json=content)

        assert response.json().items() >= {"title": "Engine", "description": "notes"}.items()

    def test_takes_text_of_all_scripts_as_it_is(self, client: TestClient, ada: Someone) -> None:
        content = {"title": "🎉" * 200, "description": 'Ψυχή\n"<b>" \'; DROP TABLE items; --'}

        response = client.post(ITEMS, headers=ada.headers, json=content)

        assert response.status_code == 201
        assert response.json().items() >= content.items()

    def test_gives_ids_that_sort_by_creation(self, client: TestClient, ada: Someone) -> None:
        created = [client.post(ITEMS, headers=ada.headers, json=CONTENT) for _ in range(3)]

        ids = [UUID(response.json()["id"]) for response in created]
        assert ids == sorted(ids)
        assert {item_id.version for item_id in ids} == {7}

    def test_makes_whoever_asks_the_owner(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        response = client.post(ITEMS, headers=ada.headers, json=CONTENT)

        owners = select(models.Item.owner_id).where(models.Item.id == UUID(response.json()["id"]))
        assert arrange.rows(owners) == [(ada.id,)]

    def test_needs_a_title(self, client: TestClient, ada: Someone) -> None:
        response = client.post(ITEMS, headers=ada.headers, json={"description": "No title"})

        assert_invalid(response, "body.title")

    def test_refuses_one_whose_account_is_gone_since_the_request_began(
        self, client: TestClient, app: FastAPI
    ) -> None:
        app.dependency_overrides[get_principal] = gone

        response = client.post(ITEMS, json=CONTENT)

        assert_problem(response, 401, "invalid_token")
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]

    def test_stores_nothing_of_what_it_refuses(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        client.post(ITEMS, headers=ada.headers, json={"title": ""})

        assert arrange.rows(select(models.Item.id).where(models.Item.owner_id == ada.id)) == []


class TestListItems:
    def test_is_empty_at_first(self, client: TestClient, ada: Someone) -> None:
        response = client.get(ITEMS, headers=ada.headers)

        assert response.status_code == 200
        assert response.json() == {"items": [], "next_cursor": None}

    def test_shows_whole_items(self, client: TestClient, ada: Someone, item: models.Item) -> None:
        (listed,) = client.get(ITEMS, headers=ada.headers).json()["items"]

        assert listed == client.get(path_of(item), headers=ada.headers).json()

    def test_shows_the_latest_first_unless_told_otherwise(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        first, second, third = arrange.items(ada, 3)

        assert listed(client, ada) == ids_of(third, second, first)

    def test_shows_nothing_of_others(
        self, client: TestClient, arrange: ArrangeSync, item: models.Item
    ) -> None:
        assert listed(client, arrange.someone(role="admin")) == []

    def test_comes_in_pages(self, client: TestClient, arrange: ArrangeSync, ada: Someone) -> None:
        items = arrange.items(ada, 5)

        pages = walk(client, ada, limit=2, sort="created_at")

        assert pages == [ids_of(*items[:2]), ids_of(*items[2:4]), ids_of(*items[4:])]

    def test_has_no_empty_page_at_the_end(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        arrange.items(ada, 4)

        assert [len(page) for page in walk(client, ada, limit=2)] == [2, 2]

    @pytest.mark.parametrize("sort", SORTS)
    def test_sorts_by_every_order_it_offers(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, sort: str
    ) -> None:
        moments = [NOON + timedelta(minutes=minutes) for minutes in (3, 1, 2)]
        items = [
            ItemFactory.build(owner_id=ada.id, title=t, created_at=c, updated_at=u)
            for t, c, u in zip(("b", "c", "a"), moments, reversed(moments), strict=True)
        ]
        arrange.store(*items)

        assert listed(client, ada, sort=sort) == in_order(items, sort)

    @pytest.mark.parametrize("sort", SORTS)
    def test_walks_through_equal_values_without_loss_or_repetition(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, sort: str
    ) -> None:
        items = arrange.items(ada, 7, title="Same", created_at=NOON, updated_at=NOON)

        pages = walk(client, ada, limit=2, sort=sort)

        assert [item_id for page in pages for item_id in page] == in_order(items, sort)

    def test_goes_on_where_it_was_when_items_are_added(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        first, second, third = arrange.items(ada, 3, created_at=NOON)
        page = get_page(client, ada, limit=2)

        arrange.items(ada, 4)
        rest = get_page(client, ada, limit=2, cursor=page["next_cursor"])

        assert ids_in(page) == ids_of(third, second)
        assert ids_in(rest) == ids_of(first)

    def test_shows_items_that_are_added_further_on(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        arrange.items(ada, 3, created_at=NOON)
        page = get_page(client, ada, limit=3, sort="created_at")
        (fourth,) = arrange.items(ada)
        again = get_page(client, ada, limit=2, sort="created_at")

        rest = walk(client, ada, limit=2, sort="created_at", cursor=again["next_cursor"])

        assert page["next_cursor"] is None
        assert rest[-1][-1] == str(fourth.id)

    def test_goes_on_where_it_was_when_the_last_item_seen_is_deleted(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        first, second, third = arrange.items(ada, 3, created_at=NOON)
        page = get_page(client, ada, limit=2, sort="created_at")

        client.delete(path_of(second), headers=ada.headers)
        rest = get_page(client, ada, limit=2, sort="created_at", cursor=page["next_cursor"])

        assert ids_in(page) == ids_of(first, second)
        assert ids_in(rest) == ids_of(third)

    def test_keeps_the_filter_on_later_pages(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        wanted = arrange.items(ada, 3, status="active")
        arrange.items(ada, 3, status="archived")

        pages = walk(client, ada, limit=1, status="active", sort="created_at")

        assert pages == [[item_id] for item_id in ids_of(*wanted)]

    def test_finds_its_place_after_the_longest_of_titles(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        arrange.items(ada, 3, title="🎉" * 200)

        assert [len(page) for page in walk(client, ada, limit=1, sort="title")] == [1, 1, 1]

    @pytest.mark.parametrize("status", ["draft", "active", "archived"])
    def test_filters_by_status(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, status: str
    ) -> None:
        items = {name: arrange.items(ada, status=name) for name in ("draft", "active", "archived")}

        assert listed(client, ada, status=status) == ids_of(*items[status])

    def test_filters_by_a_period_with_its_beginning_and_without_its_end(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        moments = [NOON + timedelta(seconds=seconds) for seconds in (-1, 0, 59, 60)]
        _, first, last, _ = [arrange.items(ada, created_at=moment)[0] for moment in moments]

        found = listed(
            client,
            ada,
            sort="created_at",
            created_from="2026-11-21T12:00:00Z",
            created_before="2026-11-21T13:01:00+01:00",
        )

        assert found == ids_of(first, last)

    @pytest.mark.parametrize(
        ("query", "title"),
        [
            pytest.param("bernoulli", "On Bernoulli numbers", id="inside"),
            pytest.param("ON BERN", "On Bernoulli numbers", id="upper case"),
            pytest.param("ÜBUNG", "Eine Übung", id="upper case of other alphabets"),
            pytest.param("übung", "EINE ÜBUNG", id="lower case of other alphabets"),
            pytest.param("100%", "It is 100% true", id="percent"),
            pytest.param("a_b", "An a_b of its own", id="underscore"),
            pytest.param("a/b", "Either a/b", id="slash"),
            pytest.param("a\\b", "Path a\\b", id="backslash"),
            pytest.param("'", "It's", id="quote"),
            pytest.param("🎉", "Party 🎉!", id="emoji"),
        ],
    )
    def test_searches_titles_and_descriptions(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, query: str, title: str
    ) -> None:
        by_title = arrange.items(ada, title=title)
        by_description = arrange.items(ada, description=title)
        arrange.items(ada, title="It is 1000 times an axb, a-b, aa, ab", description="Nothing")

        found = listed(client, ada, q=query, sort="created_at")

        assert found == ids_of(*by_title, *by_description)

    @pytest.mark.parametrize("query", ["%", "_", "\\", "/", "%%", "[a-z]", ".*"])
    def test_takes_wildcards_for_letters(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, query: str
    ) -> None:
        arrange.items(ada, title="plain", description="words")

        assert listed(client, ada, q=query) == []

    def test_combines_filters(self, client: TestClient, arrange: ArrangeSync, ada: Someone) -> None:
        (wanted,) = arrange.items(ada, title="Engine", status="active", created_at=NOON)
        arrange.items(ada, title="Engine", status="draft", created_at=NOON)
        arrange.items(ada, title="Loom", status="active", created_at=NOON)
        arrange.items(ada, title="Engine", status="active")
        before = (NOON + timedelta(hours=1)).isoformat()

        found = listed(client, ada, q="engine", status="active", created_before=before)

        assert found == ids_of(wanted)

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            pytest.param({"limit": "0"}, "query.limit", id="no entries"),
            pytest.param({"limit": "101"}, "query.limit", id="too many entries"),
            pytest.param({"limit": "many"}, "query.limit", id="limit is no number"),
            pytest.param({"sort": "description"}, "query.sort", id="sort unknown"),
            pytest.param({"sort": "--title"}, "query.sort", id="sort with two signs"),
            pytest.param({"status": "gone"}, "query.status", id="status unknown"),
            pytest.param({"q": ""}, "query.q", id="search empty"),
            pytest.param({"q": "x" * 201}, "query.q", id="search too long"),
            pytest.param({"q": "\x00"}, "query.q", id="search nul"),
            pytest.param({"created_from": "noon"}, "query.created_from", id="no moment"),
            pytest.param({"created_from": "0"}, "query.created_from", id="seconds since 1970"),
            pytest.param(
                {"created_from": "2026-11-21T12:00:00"}, "query.created_from", id="no time zone"
            ),
            pytest.param(
                {"created_before": "9999-12-31T23:59:59-01:00"},
                "query.created_before",
                id="after the end of time",
            ),
            pytest.param({"offset": "20"}, "query.offset", id="parameter unknown"),
            pytest.param({"cursor": ""}, "query.cursor", id="cursor empty"),
            pytest.param({"cursor": "a=="}, "query.cursor", id="cursor of other letters"),
            pytest.param({"cursor": "a" * 2049}, "query.cursor", id="cursor too long"),
            pytest.param({"cursor": "garbage"}, "query.cursor", id="cursor of no page"),
            pytest.param({"cursor": "W10"}, "query.cursor", id="cursor empty inside"),
        ],
    )
    def test_refuses_a_bad_query(
        self, client: TestClient, ada: Someone, query: dict[str, str], field: str
    ) -> None:
        response = client.get(ITEMS, headers=ada.headers, params=query)

        assert_invalid(response, field)

    def test_refuses_a_period_that_ends_before_it_begins(
        self, client: TestClient, ada: Someone
    ) -> None:
        query = {"created_from": "2026-11-22T00:00:00Z", "created_before": "2026-11-21T00:00:00Z"}

        response = client.get(ITEMS, headers=ada.headers, params=query)

        assert_problem(response, 422, "validation_error")
        assert response.json()["errors"][0]["code"] == "empty_period"

    @pytest.mark.parametrize("sort", ["-created_at", "updated_at", "title"])
    def test_refuses_the_cursor_of_another_order(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, sort: str
    ) -> None:
        arrange.items(ada, 2)
        cursor = get_page(client, ada, limit=1, sort="created_at")["next_cursor"]

        response = client.get(ITEMS, headers=ada.headers, params={"sort": sort, "cursor": cursor})

        assert_invalid(response, "query.cursor", "invalid_cursor")

    def test_refuses_a_forged_cursor_with_a_value_of_another_type(
        self, client: TestClient, ada: Someone
    ) -> None:
        cursor = encode_cursor("-created_at", "a title", new_id())

        response = client.get(ITEMS, headers=ada.headers, params={"cursor": cursor})

        assert_invalid(response, "query.cursor", "invalid_cursor")

    def test_shows_nothing_of_others_for_a_forged_cursor(
        self, client: TestClient, arrange: ArrangeSync, item: models.Item
    ) -> None:
        cursor = encode_cursor("-created_at", datetime.max.replace(tzinfo=UTC), item.id)

        assert listed(client, arrange.someone(), cursor=cursor) == []


class TestGetItemStats:
    def test_counts_the_items_of_the_owner_by_status(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        arrange.items(ada, 2)
        arrange.items(ada, status="archived")
        arrange.items(arrange.someone())

        response = client.get(f"{ITEMS}/stats", headers=ada.headers)

        assert response.status_code == 200
        assert response.json() == {"draft": 2, "active": 0, "archived": 1, "total": 3}

    def test_follows_every_change(self, client: TestClient, ada: Someone) -> None:
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
    def test_answers_with_the_item_and_its_version(
        self, client: TestClient, ada: Someone, item: models.Item
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
            "created_at": json_of(item.created_at),
            "updated_at": read["updated_at"],
        }
        assert read["updated_at"] > read["created_at"]

    @pytest.mark.parametrize("tag", [*MATCHING_TAGS, 'W/"3"', '"1", W/"3"'])
    def test_does_not_repeat_a_version_that_the_client_has(
        self, client: TestClient, ada: Someone, item: models.Item, tag: str
    ) -> None:
        response = client.get(path_of(item), headers={**ada.headers, "If-None-Match": tag})

        assert response.status_code == 304
        assert response.headers["ETag"] == '"3"'
        assert response.content == b""

    @pytest.mark.parametrize("tag", [*OTHER_TAGS, 'W/"2"'])
    def test_answers_with_the_item_when_the_client_has_another_version(
        self, client: TestClient, ada: Someone, item: models.Item, tag: str
    ) -> None:
        response = client.get(path_of(item), headers={**ada.headers, "If-None-Match": tag})

        assert response.status_code == 200
        assert response.json()["version"] == 3

    def test_refuses_a_header_that_is_too_long(
        self, client: TestClient, ada: Someone, item: models.Item
    ) -> None:
        headers = {**ada.headers, "If-None-Match": "x" * 1001}

        response = client.get(path_of(item), headers=headers)

        assert_invalid(response, "header.If-None-Match")


class TestReplaceItem:
    def test_replaces_all_of_it(self, client: TestClient, ada: Someone, item: models.Item) -> None:
        response = client.put(path_of(item), headers=ada.headers, json={"title": "New"})

        assert response.status_code == 200
        replaced = response.json()
        expected = {"title": "New", "description": "", "status": "draft", "version": 4}
        assert replaced.items() >= expected.items()
        assert client.get(path_of(item), headers=ada.headers).json() == replaced

    def test_tells_the_new_version_and_when_that_was(
        self, client: TestClient, ada: Someone, item: models.Item
    ) -> None:
        before = client.get(path_of(item), headers=ada.headers).json()

        response = client.put(path_of(item), headers=ada.headers, json=CONTENT)

        assert response.headers["ETag"] == '"4"'
        assert response.json()["created_at"] == before["created_at"]
        assert response.json()["updated_at"] > before["updated_at"]

    def test_makes_no_new_version_of_the_same_content(
        self, client: TestClient, ada: Someone, item: models.Item
    ) -> None:
        before = client.get(path_of(item), headers=ada.headers).json()
        same = {"title": "Original", "description": "First", "status": "draft"}

        response = client.put(path_of(item), headers=ada.headers, json=same)

        assert response.headers["ETag"] == '"3"'
        assert response.json() == before

    def test_needs_a_title(self, client: TestClient, ada: Someone, item: models.Item) -> None:
        response = client.put(path_of(item), headers=ada.headers, json={"status": "active"})

        assert_invalid(response, "body.title")

    async def test_lets_one_of_two_edits_of_a_version_win(
        self, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        ada = await arrange_own.someone()
        (item,) = await arrange_own.items(ada)
        headers = {**ada.headers, "If-Match": '"1"'}

        responses = await asyncio.gather(
            own_client.put(path_of(item), headers=headers, json={"title": "One"}),
            own_client.put(path_of(item), headers=headers, json={"title": "Two"}),
        )

        assert sorted(response.status_code for response in responses) == [200, 412]

    async def test_loses_no_edit_without_a_version(
        self, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        ada = await arrange_own.someone()
        (item,) = await arrange_own.items(ada)

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
            pytest.param({"title": "Changed"}, id="title"),
            pytest.param({"description": "Changed"}, id="description"),
            pytest.param({"description": ""}, id="description emptied"),
            pytest.param({"status": "archived"}, id="status"),
            pytest.param({"title": "Changed", "status": "active"}, id="two at once"),
        ],
    )
    def test_changes_what_it_names_and_leaves_the_rest(
        self, client: TestClient, ada: Someone, item: models.Item, changes: dict[str, str]
    ) -> None:
        before = client.get(path_of(item), headers=ada.headers).json()

        response = client.patch(path_of(item), headers=ada.headers, json=changes)

        assert response.status_code == 200
        assert response.headers["ETag"] == '"4"'
        after = response.json()
        assert after["updated_at"] > before["updated_at"]
        assert after == {**before, **changes, "version": 4, "updated_at": after["updated_at"]}
        assert client.get(path_of(item), headers=ada.headers).json() == after

    def test_changes_nothing_when_it_names_nothing(
        self, client: TestClient, ada: Someone, item: models.Item
    ) -> None:
        before = client.get(path_of(item), headers=ada.headers).json()

        response = client.patch(path_of(item), headers=ada.headers, json={})

        assert response.status_code == 200
        assert response.json() == before


class TestDeleteItem:
    def test_deletes_the_item(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, item: models.Item
    ) -> None:
        (other,) = arrange.items(ada)

        response = client.delete(path_of(item), headers=ada.headers)

        assert response.status_code == 204
        assert response.content == b""
        assert listed(client, ada) == ids_of(other)

    def test_does_not_find_it_a_second_time(
        self, client: TestClient, ada: Someone, item: models.Item
    ) -> None:
        client.delete(path_of(item), headers=ada.headers)

        response = client.delete(path_of(item), headers=ada.headers)

        assert_problem(response, 404, "item_not_found")


class TestIfMatch:
    @pytest.mark.parametrize(("method", "options"), WRITES)
    @pytest.mark.parametrize("tag", MATCHING_TAGS)
    def test_lets_a_client_write_that_has_seen_the_version(
        self,
        client: TestClient,
        ada: Someone,
        item: models.Item,
        method: str,
        options: dict[str, Any],
        tag: str,
    ) -> None:
        headers = {**ada.headers, "If-Match": tag}

        response = client.request(method, path_of(item), headers=headers, **options)

        assert response.is_success

    @pytest.mark.parametrize(("method", "options"), WRITES)
    @pytest.mark.parametrize("tag", [*OTHER_TAGS, 'W/"3"', '"1", W/"3"'])
    def test_refuses_a_client_that_has_not(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        ada: Someone,
        item: models.Item,
        method: str,
        options: dict[str, Any],
        tag: str,
    ) -> None:
        headers = {**ada.headers, "If-Match": tag}

        response = client.request(method, path_of(item), headers=headers, **options)

        assert_problem(response, 412, "precondition_failed")
        assert "Read the resource again" in response.json()["detail"]
        assert stored(arrange, item) == ("Original", "First", "draft", 3)

    @pytest.mark.parametrize(("method", "options"), WRITES)
    def test_does_not_find_what_is_not_there_whatever_the_version(
        self, client: TestClient, ada: Someone, method: str, options: dict[str, Any]
    ) -> None:
        headers = {**ada.headers, "If-Match": '"1"'}

        response = client.request(method, NOBODYS, headers=headers, **options)

        assert_problem(response, 404, "item_not_found")

    @pytest.mark.parametrize(("method", "options"), WRITES)
    def test_refuses_a_header_that_is_too_long(
        self,
        client: TestClient,
        ada: Someone,
        item: models.Item,
        method: str,
        options: dict[str, Any],
    ) -> None:
        headers = {**ada.headers, "If-Match": "x" * 1001}

        response = client.request(method, path_of(item), headers=headers, **options)

        assert_invalid(response, "header.If-Match")


def path_of(item: models.Item) -> str:
    return f"{ITEMS}/{item.id}"


def ids_of(*items: models.Item) -> list[str]:
    return [str(item.id) for item in items]


def ids_in(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["items"]]


def in_order(items: list[models.Item], sort: str) -> list[str]:
    """What a list should be, by another way than the database's."""
    name = sort.removeprefix("-")
    ordered = sorted(items, key=lambda item: (getattr(item, name), item.id))
    return ids_of(*(reversed(ordered) if sort.startswith("-") else ordered))


def get_page(client: TestClient, owner: Someone, **query: Any) -> dict[str, Any]:
    response = client.get(ITEMS, headers=owner.headers, params=query)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


def listed(client: TestClient, owner: Someone, **query: Any) -> list[str]:
    return ids_in(get_page(client, owner, **query))


def walk(client: TestClient, owner: Someone, **query: Any) -> list[list[str]]:
    """All pages, as a client would get them one after the other; ten at most."""
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


def json_of(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def assert_problem(response: httpx2.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == code


def assert_invalid(response: httpx2.Response, field: str, code: str | None = None) -> None:
    assert_problem(response, 422, "validation_error")
    (error,) = response.json()["errors"]
    assert error["field"] == field
    assert code in {None, error["code"]}
