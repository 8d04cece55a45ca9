"""`Idempotency-Key`: a request that is sent twice is carried out once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import delete, select, update
from starlette.responses import Response, StreamingResponse
from starlette.testclient import TestClient

from app import models
from app.api.deps.idempotency import IdempotencyDep
from app.api.deps.users import CurrentUser
from app.config import Settings
from app.core.clock import utc_now
from app.core.errors import DatabaseUnavailable
from app.core.ids import new_id
from app.infrastructure.http.routes import FeatureRouter
from app.infrastructure.idempotency import IdempotencyKeys
from app.main import create_app
from tests.conftest import async_client_of
from tests.support.arrange import Account, Arrange, ArrangeSync
from tests.support.document import OPERATIONS
from tests.support.mortal import POINTS, mortal_service
from tests.support.things import CREATE_TABLE, THINGS, Thing, Things, get_things
from tests.support.waiting import PATIENCE

DAY = timedelta(days=1)
BODY = {"title": "Note G"}

Titles = Callable[[], list[str]]


@pytest.fixture
def user(arrange: ArrangeSync) -> Account:
    arrange.execute(CREATE_TABLE)
    return arrange.account()


@pytest.fixture
def titles(arrange: ArrangeSync) -> Titles:
    """Return the titles of all things."""
    return lambda: [title for (title,) in arrange.rows(select(Thing.title))]


def create(
    client: TestClient, who: Account, key: str, body: dict[str, Any] | None = None, query: str = ""
) -> httpx2.Response:
    headers = {**who.headers, "Idempotency-Key": key}
    response: httpx2.Response = client.post(THINGS + query, json=body or BODY, headers=headers)
    return response


class TestSameRequest:
    def test_returns_the_stored_response(
        self, client: TestClient, user: Account, titles: Titles
    ) -> None:
        key = new_id().hex
        first, second, third = (create(client, user, key) for _ in range(3))
        assert [each.status_code for each in (first, second, third)] == [201] * 3
        assert first.content == second.content == third.content
        for name in ("location", "etag", "content-type"):
            assert first.headers[name] == second.headers[name]
        assert "idempotency-replayed" not in first.headers
        assert second.headers["idempotency-replayed"] == "true"
        assert second.headers["x-request-id"] != first.headers["x-request-id"]
        assert titles() == ["Note G"]

    def test_is_carried_out_twice_without_a_key(
        self, client: TestClient, user: Account, titles: Titles
    ) -> None:
        for _ in range(2):
            assert client.post(THINGS, json=BODY, headers=user.headers).status_code == 201
        assert titles() == ["Note G"] * 2


class TestOtherRequest:
    @pytest.mark.parametrize(("body", "query"), [({"title": "Note A"}, ""), (BODY, "?x=1")])
    def test_is_refused(
        self, client: TestClient, user: Account, body: dict[str, Any], query: str, titles: Titles
    ) -> None:
        key = new_id().hex
        assert create(client, user, key).status_code == 201
        response = create(client, user, key, body, query)
        assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
        assert response.json()["errors"][0]["field"] == "header.Idempotency-Key"
        assert titles() == ["Note G"]

    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (b'{"title": "Note B"}', "application/json"),
            (b'{"title":"Note A"}', "application/vnd.x+json"),
        ],
    )
    def test_is_recognized_by_body_and_content_type(
        self, client: TestClient, user: Account, content: bytes, kind: str, titles: Titles
    ) -> None:
        headers = {**user.headers, "Idempotency-Key": new_id().hex}
        client.post(THINGS, json={"title": "Note A"}, headers=headers)
        response = client.post(THINGS, content=content, headers={**headers, "Content-Type": kind})
        assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
        assert titles() == ["Note A"]

    def test_of_another_account_is_separate(
        self, client: TestClient, arrange: ArrangeSync, user: Account
    ) -> None:
        key, other = new_id().hex, arrange.account()
        for who in (user, other):
            response = create(client, who, key)
            assert response.status_code == 201
            assert "idempotency-replayed" not in response.headers


class TestKey:
    @pytest.mark.parametrize("key", ["x", '"quoted"', "!~", "k" * 255])
    def test_is_any_visible_text(self, client: TestClient, user: Account, key: str) -> None:
        assert create(client, user, key).status_code == 201

    @pytest.mark.parametrize("key", ["", "a b", "k" * 256, "\t", "\u00e4".encode()])
    def test_is_refused_otherwise(
        self, client: TestClient, user: Account, key: Any, titles: Titles
    ) -> None:
        response = create(client, user, key)
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")
        assert response.json()["errors"][0]["field"] == "header.Idempotency-Key"
        assert titles() == []

    def test_is_refused_if_repeated(
        self, client: TestClient, user: Account, titles: Titles
    ) -> None:
        headers = [*user.headers.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
        response = client.post(THINGS, json=BODY, headers=headers)
        assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_repeated")
        assert response.json()["errors"][0]["field"] == "header.Idempotency-Key"
        assert titles() == []

    def test_is_claimed_after_authentication(self, client: TestClient) -> None:
        headers = {"Idempotency-Key": new_id().hex}
        assert client.post(THINGS, json=BODY, headers=headers).status_code == 401

    def test_is_accepted_by_authenticated_posts_only(self) -> None:
        having = [each for each in OPERATIONS if "Idempotency-Key" in _headers_of(each.definition)]
        assert {each.method for each in having} <= {"post"}
        assert not [each.id for each in having if not each.schemes]
        assert "create_api_key" not in {each.id for each in having}

    def test_in_use_is_documented_with_retry_after(self) -> None:
        having = [each for each in OPERATIONS if "Idempotency-Key" in _headers_of(each.definition)]
        for operation in having:
            # Not every conflict says it.
            assert operation.responses[409]["headers"]["Retry-After"]["required"] is False


class TestRefusedRequest:
    @pytest.mark.parametrize(
        ("body", "headers", "status"),
        [
            (b'{"title": ""}', {}, 422),
            (b'{"title": "Note G"}', {"Content-Type": "text/plain"}, 415),
            (b"{", {}, 400),
            (b"{}", {"Authorization": "Bearer x"}, 401),
            (b"{}", {"Content-Length": str(10**12)}, 413),
        ],
    )
    def test_leaves_its_key_unused(
        self, client: TestClient, user: Account, body: bytes, headers: dict[str, str], status: int
    ) -> None:
        key = new_id().hex
        sent = {**user.headers, "Idempotency-Key": key, "Content-Type": "application/json"}
        response = client.post(THINGS, content=body, headers={**sent, **headers})
        assert response.status_code == status
        mended = create(client, user, key)
        assert mended.status_code == 201
        assert "idempotency-replayed" not in mended.headers


class Failing:
    """A service that fails a given number of times."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times = error, times

    async def create(self, *_: object) -> object:
        self.times -= 1
        raise self.error


class TestFailedRequest:
    @pytest.fixture
    def failing(self, app: FastAPI) -> Iterator[Callable[[Exception], None]]:
        def fail(error: Exception) -> None:
            app.dependency_overrides[get_things] = lambda: Failing(error, 1)

        yield fail
        app.dependency_overrides.clear()

    @pytest.mark.parametrize(
        ("error", "status"), [(DatabaseUnavailable(), 503), (RuntimeError("no"), 500)]
    )
    def test_frees_its_key(
        self,
        client: TestClient,
        app: FastAPI,
        user: Account,
        failing: Callable[[Exception], None],
        error: Exception,
        status: int,
    ) -> None:
        key = new_id().hex
        failing(error)
        assert create(client, user, key).status_code == status
        app.dependency_overrides.clear()
        response = create(client, user, key)
        assert response.status_code == 201
        assert "idempotency-replayed" not in response.headers


class TestStoredAnswer:
    def test_is_stored_under_a_hash_until_it_expires(
        self, client: TestClient, user: Account, arrange: ArrangeSync, titles: Titles
    ) -> None:
        key = new_id().hex
        create(client, user, key)
        (row,) = arrange.rows(select(models.IdempotencyKey.__table__))
        assert key not in repr(row)
        assert utc_now() < row.expires_at <= utc_now() + DAY
        arrange.execute(update(models.IdempotencyKey).values(expires_at=utc_now()))
        for _ in range(2):
            assert create(client, user, key).status_code == 201
        assert titles() == ["Note G"] * 2

    def test_counts_towards_a_limit(
        self,
        client: TestClient,
        user: Account,
        arrange: ArrangeSync,
        settings: Settings,
        use: Callable[..., None],
        titles: Titles,
    ) -> None:
        few = settings.idempotency.model_copy(update={"keys_per_user": 2})
        use(settings=settings.model_copy(update={"idempotency": few}))
        keys = [new_id().hex for _ in range(3)]
        *_, refused = [create(client, user, key) for key in keys]
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_idempotency_keys")
        assert 0 < int(refused.headers["retry-after"]) <= DAY.total_seconds()
        assert create(client, user, keys[0]).headers["idempotency-replayed"] == "true"
        assert create(client, arrange.account(), keys[2]).status_code == 201
        assert titles() == ["Note G"] * 3
        arrange.execute(update(models.IdempotencyKey).values(expires_at=utc_now()))
        assert create(client, user, keys[2]).status_code == 201

    async def test_is_deleted_with_its_account(
        self, own_client: httpx2.AsyncClient, arrange_own: Arrange, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await arrange_own.execute(CREATE_TABLE)
        account = await arrange_own.account()
        headers = {**account.headers, "Idempotency-Key": new_id().hex}
        create_thing = Things.create

        async def deleted_meanwhile(service: Things, *args: Any) -> Any:
            await service.session.execute(delete(models.User))
            return await create_thing(service, *args)

        assert (await own_client.post(THINGS, json=BODY, headers=headers)).status_code == 201
        monkeypatch.setattr(Things, "create", deleted_meanwhile)
        headers["Idempotency-Key"] = new_id().hex
        response = await own_client.post(THINGS, json=BODY, headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "invalid_token")
        await arrange_own.execute(delete(models.User))
        assert await arrange_own.rows(select(models.IdempotencyKey.name)) == []


class TestConcurrentRequests:
    async def test_are_carried_out_once(
        self, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        await arrange_own.execute(CREATE_TABLE)
        account = await arrange_own.account()
        headers = {**account.headers, "Idempotency-Key": new_id().hex}
        requests = [own_client.post(THINGS, json=BODY, headers=headers) for _ in range(5)]
        async with asyncio.timeout(PATIENCE):
            responses = await asyncio.gather(*requests)
        last = await own_client.post(THINGS, json=BODY, headers=headers)
        done = [each for each in responses if each.status_code == 201]
        for each in responses:
            if each not in done:
                # Only a database with several writers refuses it.
                assert (each.status_code, each.headers["retry-after"]) == (409, "1")
                assert each.json()["code"] == "idempotency_key_in_use"
        assert {each.content for each in done} == {last.content}
        assert len([each for each in done if "idempotency-replayed" not in each.headers]) == 1
        assert await arrange_own.rows(select(Thing.title)) == [(BODY["title"],)]


class TestBrokenOff:
    """Killed between claim and response: a retry creates one thing, and gets its response."""

    async def test_by_a_cancellation(
        self,
        own_client: httpx2.AsyncClient,
        arrange_own: Arrange,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await arrange_own.execute(CREATE_TABLE)
        account = await arrange_own.account()
        headers = {**account.headers, "Idempotency-Key": new_id().hex}
        stored = asyncio.Event()
        keep = IdempotencyKeys.keep

        async def hang(*args: Any) -> None:
            await keep(*args)
            stored.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(IdempotencyKeys, "keep", hang)
        broken_off = asyncio.create_task(own_client.post(THINGS, json=BODY, headers=headers))
        async with asyncio.timeout(PATIENCE):
            await stored.wait()
        broken_off.cancel()
        await asyncio.wait([broken_off])
        monkeypatch.undo()
        response = await own_client.post(THINGS, json=BODY, headers=headers)
        assert response.status_code == 201
        assert await arrange_own.rows(select(Thing.title)) == [(BODY["title"],)]

    @pytest.mark.parametrize("point", POINTS)
    async def test_by_a_signal(
        self,
        own_app: FastAPI,
        own_client: httpx2.AsyncClient,
        arrange_own: Arrange,
        point: str,
    ) -> None:
        await arrange_own.execute(CREATE_TABLE)
        account = await arrange_own.account()
        headers = {**account.headers, "Idempotency-Key": new_id().hex}
        settings = own_app.state.resources.settings
        async with (
            mortal_service(settings, point) as address,
            httpx2.AsyncClient(
                base_url=address, transport=httpx2.AsyncHTTPTransport(), timeout=PATIENCE
            ) as client,
        ):
            with pytest.raises(httpx2.TransportError):
                await client.post(THINGS, json=BODY, headers=headers)
        before = await arrange_own.rows(select(Thing.id))
        response = await own_client.post(THINGS, json=BODY, headers=headers)
        assert response.status_code == 201
        assert ("idempotency-replayed" in response.headers) == (point == "committed")
        assert len(before) == (point == "committed")
        assert await arrange_own.rows(select(Thing.id)) == [(UUID(response.json()["id"]),)]


class TestAnyRoute:
    """Guarantees for any route that takes a key."""

    @pytest.fixture
    async def caller(
        self, make_settings: Callable[..., Settings], own_database_url: str, password_hash: str
    ) -> AsyncIterator[httpx2.AsyncClient]:
        app = create_app(make_settings(own_database_url))
        router = FeatureRouter(prefix="/any", tags=["any"])

        @router.post("/sized/{size}", status_code=201)
        async def sized(size: int, _: CurrentUser, __: IdempotencyDep) -> Response:
            return Response(b"x" * size, 201, {"Location": "/any/1"})

        @router.post("/stream")
        async def stream(_: CurrentUser, __: IdempotencyDep) -> StreamingResponse:
            async def parts() -> AsyncIterator[bytes]:
                yield b"one, "
                yield b"two"

            return StreamingResponse(parts(), media_type="text/plain")

        @router.post("/nobody")
        async def nobody(_: IdempotencyDep) -> None: ...

        router.include_in(app, prefix="", dependencies=())
        async with app.router.lifespan_context(app), async_client_of(app) as client:
            arrange = Arrange(lambda: app.state.resources, password_hash)
            client.headers.update((await arrange.account()).headers)
            yield client

    async def test_stores_responses_up_to_a_size(self, caller: httpx2.AsyncClient) -> None:
        first, second = [await caller.post("/any/sized/65536", headers=KEYED) for _ in range(2)]
        assert (first.status_code, second.status_code) == (201, 201)
        assert second.content == first.content
        first, second = [await caller.post("/any/sized/65537", headers=KEYED) for _ in range(2)]
        assert (first.status_code, second.status_code) == (201, 409)
        assert second.json()["code"] == "idempotency_answer_not_kept"
        assert second.headers["location"] == first.headers["location"]

    async def test_stores_no_streams(self, caller: httpx2.AsyncClient) -> None:
        first, second = [await caller.post("/any/stream", headers=KEYED) for _ in range(2)]
        assert (first.status_code, first.text) == (200, "one, two")
        assert (second.status_code, second.json()["code"]) == (409, "idempotency_answer_not_kept")
        assert "location" not in second.headers

    async def test_must_authenticate_the_user(self, caller: httpx2.AsyncClient) -> None:
        assert (await caller.post("/any/nobody", headers=KEYED)).status_code == 500
        assert (await caller.post("/any/nobody")).status_code == 200


KEYED = {"Idempotency-Key": "key"}


def _headers_of(definition: dict[str, Any]) -> set[str]:
    return {each["name"] for each in definition.get("parameters", ()) if each["in"] == "header"}
