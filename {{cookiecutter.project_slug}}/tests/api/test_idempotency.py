"""`Idempotency-Key`: what is sent twice is done once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Annotated, Any
from unittest.mock import AsyncMock

import httpx2
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import func, select
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from app.api.deps.idempotency import HeldKey, IdempotencyDep
from app.core.config import HttpSettings
from app.core.errors import DatabaseUnavailable
from app.core.idempotency import Answer, Claim, IdempotencyKey, IdempotencyUnavailable
from app.core.ids import new_id
from app.infrastructure.http.bodies import IdempotencyMiddleware
from app.infrastructure.http.context import identify, request_context
from app.infrastructure.http.handlers import add_exception_handlers
from app.infrastructure.http.middleware import middleware
from tests.conftest import async_client_of
from tests.support.arrange import Arrange, ArrangeSync, Someone, gone
from tests.support.document import OPERATIONS
from tests.support.things import CREATE_TABLE, THINGS, Thing, Things, get_things

BODY = {"title": "Note G"}

Titles = Callable[[], list[str]]


@pytest.fixture
def user(arrange: ArrangeSync) -> Someone:
    arrange.execute(CREATE_TABLE)
    return arrange.someone()


@pytest.fixture
def titles(arrange: ArrangeSync) -> Titles:
    """Return the titles of all things."""
    return lambda: [title for (title,) in arrange.rows(select(Thing.title))]


def create(
    client: TestClient, who: Someone, key: str, body: dict[str, Any] | None = None, query: str = ""
) -> httpx2.Response:
    headers = {**who.headers, "Idempotency-Key": key}
    response: httpx2.Response = client.post(THINGS + query, json=body or BODY, headers=headers)
    return response


class TestSameRequest:
    def test_gets_the_first_answer_again_and_is_not_carried_out(
        self, client: TestClient, user: Someone, titles: Titles
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

    def test_gets_the_first_answer_also_if_that_was_a_refusal(
        self, client: TestClient, user: Someone
    ) -> None:
        key = new_id().hex
        first, second = (create(client, user, key, {"title": ""}) for _ in range(2))
        assert (first.status_code, second.status_code) == (422, 422)
        assert first.json() == second.json()
        assert second.headers["idempotency-replayed"] == "true"

    def test_is_carried_out_twice_without_a_key(
        self, client: TestClient, user: Someone, titles: Titles
    ) -> None:
        for _ in range(2):
            assert client.post(THINGS, json=BODY, headers=user.headers).status_code == 201
        assert titles() == ["Note G"] * 2


class TestOtherRequest:
    @pytest.mark.parametrize(("body", "query"), [({"title": "Note A"}, ""), (BODY, "?x=1")])
    def test_is_refused(
        self, client: TestClient, user: Someone, body: dict[str, Any], query: str, titles: Titles
    ) -> None:
        key = new_id().hex
        assert create(client, user, key).status_code == 201
        response = create(client, user, key, body, query)
        assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
        assert response.json()["errors"][0]["field"] == "header.Idempotency-Key"
        assert titles() == ["Note G"]

    @pytest.mark.parametrize("kind", ["application/vnd.x+json", "application/json", "text/json"])
    def test_of_the_same_length_is_refused_whatever_its_type(
        self, client: TestClient, user: Someone, kind: str, titles: Titles
    ) -> None:
        headers = {**user.headers, "Idempotency-Key": new_id().hex, "Content-Type": kind}
        client.post(THINGS, content=b'{"title": "Note A"}', headers=headers)
        response = client.post(THINGS, content=b'{"title": "Note B"}', headers=headers)
        assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
        assert "Note B" not in titles()

    def test_is_the_same_body_as_another_type(self, client: TestClient, user: Someone) -> None:
        headers = {**user.headers, "Idempotency-Key": new_id().hex}
        first, second = (
            client.post(
                THINGS, content=b'{"title": "A"}', headers={**headers, "Content-Type": kind}
            )
            for kind in ("text/plain", "application/json")
        )
        assert first.json()["code"] == "unsupported_media_type"
        assert second.json()["code"] == "idempotency_key_reused"

    def test_of_another_account_is_its_own(
        self, client: TestClient, arrange: ArrangeSync, user: Someone
    ) -> None:
        key, other = new_id().hex, arrange.someone()
        for who in (user, other):
            response = create(client, who, key)
            assert response.status_code == 201
            assert "idempotency-replayed" not in response.headers


class TestKey:
    @pytest.mark.parametrize("key", ["x", '"quoted"', "!~", "k" * 255])
    def test_is_any_visible_text(self, client: TestClient, user: Someone, key: str) -> None:
        assert create(client, user, key).status_code == 201

    @pytest.mark.parametrize("key", ["", "a b", "k" * 256, "\t", "\u00e4".encode()])
    def test_is_refused_otherwise(
        self, client: TestClient, user: Someone, key: Any, titles: Titles
    ) -> None:
        response = create(client, user, key)
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")
        assert response.json()["errors"][0]["field"] == "header.Idempotency-Key"
        assert titles() == []

    def test_is_one(self, client: TestClient, user: Someone, titles: Titles) -> None:
        headers = [*user.headers.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
        response = client.post(THINGS, json=BODY, headers=headers)
        assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_repeated")
        assert response.json()["errors"][0]["field"] == "header.Idempotency-Key"
        assert titles() == []

    def test_is_not_asked_for_before_it_is_known_whose_it_is(self, client: TestClient) -> None:
        headers = {"Idempotency-Key": new_id().hex}
        assert client.post(THINGS, json=BODY, headers=headers).status_code == 401

    def test_is_taken_after_who_is_asking_and_before_a_session_is_opened(self) -> None:
        having = [each for each in OPERATIONS if "Idempotency-Key" in _headers_of(each.definition)]
        assert {each.method for each in having} <= {"post"}
        assert not [each.id for each in having if not each.schemes]
        assert "create_api_key" not in {each.id for each in having}

    def test_in_use_is_documented_with_when_to_come_back(self) -> None:
        having = [each for each in OPERATIONS if "Idempotency-Key" in _headers_of(each.definition)]
        for operation in having:
            # Not every conflict says it.
            assert operation.responses[409]["headers"]["Retry-After"]["required"] is False


class TestRefusedRequest:
    @pytest.mark.parametrize(
        ("body", "kind", "status"),
        [
            (b'{"title": ""}', "application/json", 422),
            (b'{"title": "Note G"}', "text/plain", 415),
        ],
    )
    def test_uses_its_key_up(
        self, client: TestClient, user: Someone, body: bytes, kind: str, status: int
    ) -> None:
        key = new_id().hex
        headers = {**user.headers, "Idempotency-Key": key, "Content-Type": kind}
        assert client.post(THINGS, content=body, headers=headers).status_code == status
        mended = create(client, user, key)
        assert (mended.status_code, mended.json()["code"]) == (422, "idempotency_key_reused")

    @pytest.mark.parametrize(
        ("body", "headers", "status"),
        [
            (b"{", {}, 400),
            (b"{}", {"Authorization": "Bearer x"}, 401),
            (b"{}", {"Content-Length": str(10**12)}, 413),
        ],
    )
    def test_does_not_if_that_came_before_the_key_was_looked_at(
        self, client: TestClient, user: Someone, body: bytes, headers: dict[str, str], status: int
    ) -> None:
        key = new_id().hex
        sent = {**user.headers, "Idempotency-Key": key, "Content-Type": "application/json"}
        response = client.post(THINGS, content=body, headers={**sent, **headers})
        assert response.status_code == status
        assert create(client, user, key).status_code == 201


class Failing:
    """A service that fails as often as it is told to."""

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
    def test_gives_its_key_free(
        self,
        client: TestClient,
        app: FastAPI,
        user: Someone,
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


class Away:
    """A store that does not answer."""

    async def claim(self, *_: object) -> object:
        raise IdempotencyUnavailable

    async def keep(self, *_: object) -> None:
        raise IdempotencyUnavailable


class TestStoreIsAway:
    """Nothing can be promised then."""

    def test_refuses_what_has_a_key_and_nothing_else(
        self,
        client: TestClient,
        app: FastAPI,
        user: Someone,
        use: Callable[..., None],
        titles: Titles,
    ) -> None:
        use(idempotency=Away())
        response = create(client, user, new_id().hex)
        assert (response.status_code, response.json()["code"]) == (503, "idempotency_unavailable")
        assert int(response.headers["retry-after"]) >= 1
        assert client.post(THINGS, json=BODY, headers=user.headers).status_code == 201
        assert titles() == ["Note G"]

    def test_answers_what_is_done_already(
        self, client: TestClient, app: FastAPI, user: Someone, use: Callable[..., None]
    ) -> None:
        store = app.state.resources.idempotency

        class Lost(Away):
            async def claim(self, *arguments: Any) -> object:
                return await store.claim(*arguments)

        use(idempotency=Lost())
        assert create(client, user, new_id().hex).status_code == 201


class TestConcurrentRequests:
    async def test_are_carried_out_once(
        self,
        own_client: httpx2.AsyncClient,
        arrange_own: Arrange,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await arrange_own.execute(CREATE_TABLE)
        someone = await arrange_own.someone()
        headers = {**someone.headers, "Idempotency-Key": new_id().hex}
        under_way, may_end = asyncio.Event(), asyncio.Event()
        create_thing = Things.create

        async def slow(service: Things, *args: Any) -> Any:
            under_way.set()
            await may_end.wait()
            return await create_thing(service, *args)

        monkeypatch.setattr(Things, "create", slow)
        async with asyncio.timeout(60):
            first = asyncio.create_task(own_client.post(THINGS, json=BODY, headers=headers))
            await under_way.wait()
            second = await own_client.post(THINGS, json=BODY, headers=headers)
            may_end.set()
            assert (await first).status_code == 201
            third = await own_client.post(THINGS, json=BODY, headers=headers)
        assert (second.status_code, second.json()["code"]) == (409, "idempotency_key_in_use")
        assert second.headers["retry-after"] == "1"
        assert third.content == (await first).content
        (row,) = await arrange_own.rows(select(func.count()).select_from(Thing))
        assert row[0] == 1


class Store:
    """Notes what it is to keep, by the fingerprints of the requests."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, Answer | None]] = []

    async def claim(self, key: IdempotencyKey, fingerprint: str) -> Claim:
        return Claim(key, fingerprint, "token")

    async def keep(self, claim: Claim, answer: Answer) -> None:
        self.ended.append((claim.fingerprint, answer))

    async def release(self, claim: Claim) -> None:
        self.ended.append((claim.fingerprint, None))

    async def prune(self) -> int:
        return 0


class TestAnyRoute:
    """What holds for routes that are not written yet."""

    @pytest.fixture
    def store(self) -> Store:
        return Store()

    @pytest.fixture
    async def caller(self, store: Store) -> AsyncIterator[httpx2.AsyncClient]:
        app = FastAPI(middleware=middleware(HttpSettings()))
        add_exception_handlers(app)
        app.state.resources = SimpleNamespace(idempotency=store)

        async def parts() -> AsyncIterator[bytes]:
            yield b"one, "
            yield b"two"

        async def broken() -> AsyncIterator[bytes]:
            yield b"one, "
            raise RuntimeError

        @app.post("/stream")
        async def stream(_: Asking, __: IdempotencyDep) -> StreamingResponse:
            return StreamingResponse(parts(), media_type="text/plain")

        @app.post("/broken")
        async def broken_stream(_: Asking, __: IdempotencyDep) -> StreamingResponse:
            return StreamingResponse(broken(), media_type="text/plain")

        @app.post("/gone")
        async def gone(_: Asking, __: IdempotencyDep) -> None:
            raise ClientDisconnect

        @app.post("/nobody")
        async def nobody(_: IdempotencyDep) -> None: ...

        async with async_client_of(app) as client:
            yield client

    async def test_has_its_streams_kept_as_a_whole(
        self, caller: httpx2.AsyncClient, store: Store
    ) -> None:
        response = await caller.post("/stream", headers=KEYED)
        assert (response.status_code, response.text) == (200, "one, two")
        ((_, answer),) = store.ended
        assert answer is not None
        assert answer.body == b"one, two"
        assert dict(answer.headers) == {"content-type": response.headers["content-type"]}

    async def test_has_its_key_given_free_if_it_breaks_off(
        self, caller: httpx2.AsyncClient, store: Store
    ) -> None:
        response = await caller.post("/broken", headers=KEYED)
        assert (response.status_code, response.json()["code"]) == (500, "internal_error")
        assert [answer for _, answer in store.ended] == [None]

    async def test_has_its_key_given_free_if_its_client_is_gone(
        self, caller: httpx2.AsyncClient, store: Store
    ) -> None:
        with pytest.raises(AssertionError):  # the transport misses an answer
            await caller.post("/gone", headers=KEYED)
        assert [answer for _, answer in store.ended] == [None]

    async def test_has_its_key_given_free_if_nothing_catches_its_error(self, store: Store) -> None:
        async def fail(scope: Scope, receive: Receive, send: Send) -> None:
            request_context(scope).claim = HeldKey(store, claim)
            raise RuntimeError

        claim = await store.claim(IdempotencyKey(new_id(), "POST /", "key"), "f")
        scope = {
            "type": "http",
            "method": "POST",
            "headers": [(b"idempotency-key", b"key")],
        }
        with pytest.raises(RuntimeError):
            await IdempotencyMiddleware(fail)(scope, AsyncMock(), AsyncMock())
        assert [answer for _, answer in store.ended] == [None]

    async def test_is_known_by_all_of_its_body(
        self, caller: httpx2.AsyncClient, store: Store
    ) -> None:
        plain = "text/plain"
        for content, kind in ((b"a", plain), (b"b", plain), (b"a", "text/csv"), (b"a", plain)):
            headers = {**KEYED, "Content-Type": kind}
            await caller.post("/stream", headers=headers, content=content)
        first, *others, same = (fingerprint for fingerprint, _ in store.ended)
        assert same == first
        assert len({first, *others}) == 3

    async def test_has_to_know_who_is_asking(
        self, caller: httpx2.AsyncClient, store: Store
    ) -> None:
        assert (await caller.post("/nobody", headers=KEYED)).status_code == 500
        assert (await caller.post("/nobody")).status_code == 200
        assert store.ended == []


def _asking(connection: HTTPConnection) -> None:
    identify(connection, gone().id)


Asking = Annotated[None, Depends(_asking)]
KEYED = {"Idempotency-Key": "key"}


def _headers_of(definition: dict[str, Any]) -> set[str]:
    return {each["name"] for each in definition.get("parameters", ()) if each["in"] == "header"}
