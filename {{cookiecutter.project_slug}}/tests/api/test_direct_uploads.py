"""Files that clients put into the store themselves, and get from it."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app import models
from app.core.clock import utc_now
from app.core.config.storage import StorageSettings
from app.core.ids import new_id
from app.core.storage import FileStoreUnavailable
from app.domain.files import id_in, incoming_key
from app.infrastructure.storage import SignedRequest, Storage
from app.resources import Resources
from tests.support.arrange import ArrangeSync, Someone
from tests.support.files import FILES, PNG, TEXT, UPLOADS, announcement, keys_of
from tests.support.s3_plugin import LARGEST_FILE

Json = dict[str, Any]


class Unsigned(Storage):
    """A store that has nothing to sign with."""

    async def signed_put(self, key: str, **_: object) -> SignedRequest:
        raise FileStoreUnavailable


@pytest.fixture
def ada(arrange: ArrangeSync) -> Someone:
    return arrange.someone()


@pytest.fixture
def put(client: TestClient) -> Callable[..., httpx2.Response]:
    """Send a signed request to the store, as a client of the service does."""

    def send(upload: Json, data: bytes = TEXT, **headers: str) -> httpx2.Response:
        with httpx2.Client(transport=httpx2.HTTPTransport()) as store:
            return store.request(
                upload["method"],
                upload["url"],
                content=data,
                headers={**upload["headers"], "Content-Length": str(len(data)), **headers},
            )

    return send


def announced(client: TestClient, someone: Someone, data: bytes = TEXT, **fields: Any) -> Json:
    response = client.post(UPLOADS, headers=someone.headers, json=announcement(data, **fields))
    assert response.status_code == 201, response.text
    body: Json = response.json()
    return body


def completed(client: TestClient, someone: Someone, upload: Json) -> httpx2.Response:
    return client.post(f"{UPLOADS}/{upload['id']}/complete", headers=someone.headers)


def stored_keys(client: TestClient, app: FastAPI) -> set[str]:
    assert client.portal is not None
    resources: Resources = app.state.resources
    return client.portal.call(keys_of, resources)


def stored_of(client: TestClient, app: FastAPI, upload: Json) -> set[str]:
    """The keys of what is stored for an upload."""
    return {key for key in stored_keys(client, app) if str(id_in(key)) == upload["id"]}


class TestCreateUpload:
    def test_gives_a_request_that_the_store_takes(
        self, client: TestClient, ada: Someone, put: Callable[..., httpx2.Response]
    ) -> None:
        response = client.post(UPLOADS, headers=ada.headers, json=announcement())

        assert response.status_code == 201
        upload = response.json()
        assert response.headers["Location"] == f"{FILES}/{upload['id']}"
        assert put(upload).status_code == 200

    @pytest.mark.parametrize(
        ("data", "headers"),
        [
            pytest.param(TEXT + b"!", {}, id="more bytes"),
            pytest.param(TEXT[:-1], {}, id="fewer bytes"),
            pytest.param(TEXT, {"Content-Type": "text/html"}, id="another type"),
            pytest.param(TEXT, {"x-amz-checksum-sha256": "AAAA"}, id="another checksum"),
        ],
    )
    def test_signs_what_was_announced(
        self,
        client: TestClient,
        ada: Someone,
        put: Callable[..., httpx2.Response],
        data: bytes,
        headers: dict[str, str],
    ) -> None:
        upload = announced(client, ada)
        assert put(upload, data, **headers).status_code == 403

    def test_is_not_a_file_yet(self, client: TestClient, ada: Someone) -> None:
        upload = announced(client, ada)

        assert client.get(f"{FILES}/{upload['id']}", headers=ada.headers).status_code == 404
        assert client.get(FILES, headers=ada.headers).json()["items"] == []

    def test_keeps_room_for_the_file(
        self, client: TestClient, app: FastAPI, use: Callable[..., None], ada: Someone
    ) -> None:
        settings = app.state.resources.settings
        storage = settings.storage.model_copy(update={"quota_bytes": 50})
        use(settings=settings.model_copy(update={"storage": storage}))
        announced(client, ada)
        announced(client, ada)

        response = client.post(UPLOADS, headers=ada.headers, json=announcement())

        assert response.status_code == 409
        assert response.json()["code"] == "quota_exceeded"
        announced(client, ada, b"123456")

    def test_is_one_upload_however_often_it_is_sent_with_a_key(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        headers = {**ada.headers, "Idempotency-Key": "8e03978e"}

        first, second = [
            client.post(UPLOADS, headers=headers, json=announcement()) for _ in range(2)
        ]

        assert (first.status_code, second.status_code) == (201, 201)
        assert second.json() == first.json()
        assert second.headers["Location"] == first.headers["Location"]
        assert second.headers["Idempotency-Replayed"] == "true"
        assert arrange.rows(select(models.File.id)) == [(UUID(first.json()["id"]),)]

    def test_keeps_no_room_if_there_is_nothing_to_send(
        self,
        client: TestClient,
        app: FastAPI,
        arrange: ArrangeSync,
        use: Callable[..., None],
        ada: Someone,
    ) -> None:
        use(storage=Unsigned(app.state.resources.settings.storage, AsyncExitStack()))

        response = client.post(UPLOADS, headers=ada.headers, json=announcement())

        assert response.status_code == 503
        assert arrange.rows(select(models.File.id)) == []

    def test_refuses_what_is_too_large(self, client: TestClient, ada: Someone) -> None:
        body = announcement(size=LARGEST_FILE + 1)
        response = client.post(UPLOADS, headers=ada.headers, json=body)

        assert response.status_code == 413
        assert response.json()["code"] == "file_too_large"

    def test_refuses_what_is_not_taken(self, client: TestClient, ada: Someone) -> None:
        body = announcement(media_type="text/html")
        response = client.post(UPLOADS, headers=ada.headers, json=body)

        assert response.status_code == 415
        assert response.json()["code"] == "unsupported_file_type"

    def test_names_the_address_that_clients_reach(
        self, client: TestClient, app: FastAPI, s3_settings: StorageSettings, ada: Someone
    ) -> None:
        assert s3_settings.endpoint_url is not None
        assert announced(client, ada)["url"].startswith(f"{s3_settings.endpoint_url}/")


class TestCompleteUpload:
    def test_makes_a_file_of_it(
        self,
        client: TestClient,
        app: FastAPI,
        ada: Someone,
        put: Callable[..., httpx2.Response],
    ) -> None:
        upload = announced(client, ada, name="../a.txt")
        put(upload)

        response = completed(client, ada, upload)

        assert response.status_code == 200
        file = response.json()
        assert (file["id"], file["name"], file["size"]) == (upload["id"], "a.txt", len(TEXT))
        content = client.get(f"{FILES}/{file['id']}/content", headers=ada.headers)
        assert content.content == TEXT
        assert incoming_key(file["id"]) not in stored_keys(client, app)

    def test_may_be_said_twice(
        self, client: TestClient, ada: Someone, put: Callable[..., httpx2.Response]
    ) -> None:
        upload = announced(client, ada)
        put(upload)

        first, second = completed(client, ada, upload), completed(client, ada, upload)

        assert (first.status_code, second.status_code) == (200, 200)
        assert first.json() == second.json()

    def test_is_not_changed_by_what_the_client_sends_later(
        self, client: TestClient, ada: Someone, put: Callable[..., httpx2.Response]
    ) -> None:
        upload = announced(client, ada)
        put(upload)
        file = completed(client, ada, upload).json()

        put(upload, TEXT[::-1])

        content = client.get(f"{FILES}/{file['id']}/content", headers=ada.headers)
        assert content.content == TEXT

    def test_needs_something_to_be_there(self, client: TestClient, ada: Someone) -> None:
        response = completed(client, ada, announced(client, ada))

        assert response.status_code == 409
        assert response.json()["code"] == "upload_incomplete"

    def test_needs_the_bytes_that_were_announced(
        self,
        client: TestClient,
        app: FastAPI,
        ada: Someone,
        put: Callable[..., httpx2.Response],
    ) -> None:
        upload = announced(client, ada)
        put(upload, TEXT[::-1])  # of the same length: the checksum is ours to check

        response = completed(client, ada, upload)

        assert response.status_code == 409
        assert response.json()["code"] == "upload_incomplete"
        assert stored_of(client, app, upload) == {incoming_key(upload["id"])}

    def test_needs_the_size_that_was_announced(
        self, client: TestClient, app: FastAPI, ada: Someone
    ) -> None:
        upload = announced(client, ada)

        async def stream() -> Any:
            yield TEXT + b"!"

        async def store_another() -> None:
            key = incoming_key(upload["id"])
            await app.state.resources.storage.put(key, stream(), media_type="text/plain")

        assert client.portal is not None
        client.portal.call(store_another)

        response = completed(client, ada, upload)
        assert response.json()["code"] == "upload_incomplete"

    def test_needs_the_type_that_was_announced(
        self, client: TestClient, ada: Someone, put: Callable[..., httpx2.Response]
    ) -> None:
        upload = announced(client, ada, PNG)
        put(upload, PNG)

        response = completed(client, ada, upload)

        assert response.status_code == 415
        assert response.json()["code"] == "file_type_mismatch"

    def test_comes_too_late_when_its_time_is_over(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        ada: Someone,
        put: Callable[..., httpx2.Response],
    ) -> None:
        upload = announced(client, ada)
        put(upload)
        arrange.execute(update(models.File).values(expires_at=utc_now() - timedelta(seconds=1)))

        response = completed(client, ada, upload)

        assert response.status_code == 409
        assert response.json()["code"] == "upload_expired"

    def test_finds_nothing_of_others(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        upload = announced(client, ada)
        assert completed(client, arrange.someone(role="admin"), upload).status_code == 404


class TestDeleteFile:
    def test_cancels_an_upload(self, client: TestClient, ada: Someone) -> None:
        upload = announced(client, ada)
        path = f"{FILES}/{upload['id']}"

        statuses = [client.delete(path, headers=ada.headers).status_code for _ in range(2)]

        assert statuses == [204, 404]
        assert client.get(path, headers=ada.headers).status_code == 404
        assert completed(client, ada, upload).status_code == 404

    @pytest.mark.parametrize("is_completed", [False, True], ids=["announced", "completed"])
    def test_frees_the_room_once_nothing_can_be_sent_any_more(
        self,
        client: TestClient,
        app: FastAPI,
        arrange: ArrangeSync,
        use: Callable[..., None],
        put: Callable[..., httpx2.Response],
        ada: Someone,
        is_completed: bool,
    ) -> None:
        settings = app.state.resources.settings
        storage = settings.storage.model_copy(update={"quota_bytes": len(TEXT)})
        use(settings=settings.model_copy(update={"storage": storage}))
        upload = announced(client, ada)
        if is_completed:
            put(upload)
            completed(client, ada, upload)
        client.delete(f"{FILES}/{upload['id']}", headers=ada.headers)
        assert put(upload).status_code == 200

        refused = client.post(UPLOADS, headers=ada.headers, json=announcement())
        assert refused.json()["code"] == "quota_exceeded"
        assert stored_of(client, app, upload) == {incoming_key(upload["id"])}

        arrange.execute(update(models.File).values(expires_at=utc_now() - timedelta(seconds=1)))
        announced(client, ada)
        assert stored_of(client, app, upload) == set()

    def test_frees_the_room_at_once_if_nothing_can_be_sent_any_more(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        upload = announced(client, ada)
        arrange.execute(update(models.File).values(signed_until=utc_now()))

        client.delete(f"{FILES}/{upload['id']}", headers=ada.headers)

        assert arrange.rows(select(models.File.id)) == []


class TestGetFileLink:
    def test_gives_the_content_without_credentials(self, client: TestClient, ada: Someone) -> None:
        files = {"file": ("größe.txt", TEXT, "text/plain")}
        file = client.post(FILES, headers=ada.headers, files=files).json()

        link = client.get(f"{FILES}/{file['id']}/link", headers=ada.headers).json()

        with httpx2.Client(transport=httpx2.HTTPTransport()) as store:
            response = store.get(link["url"])
            forged = store.get(link["url"].replace(file["id"], str(new_id())))
        assert (response.status_code, response.content) == (200, TEXT)
        assert forged.status_code in {403, 404}
        assert link["expires_at"] > utc_now().isoformat()
