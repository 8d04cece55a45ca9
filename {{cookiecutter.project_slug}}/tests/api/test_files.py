"""Files: through the service, and directly to and from the store."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from app import models
from app.core.clock import utc_now
from app.core.config.storage import StorageSettings
from app.core.ids import new_id
from app.core.storage import FileStoreUnavailable
from app.domain.files import id_in, incoming_key
from app.infrastructure.http.downloads import attachment
from app.infrastructure.storage import SignedRequest, Storage
from tests.support.arrange import Account, ArrangeSync, Jobs
from tests.support.files import (
    END,
    FILES,
    MULTIPART,
    PNG,
    TEXT,
    UPLOADS,
    FileFactory,
    PendingFileFactory,
    announcement,
    keys_of,
    part,
)
from tests.support.s3_plugin import LARGEST_FILE, nobody

Json = dict[str, Any]
COUNT = select(func.count()).select_from(models.File)


class FilesClient:
    """The client of a user, for files."""

    def __init__(self, client: TestClient, app: FastAPI, user: Account) -> None:
        self.client, self.app, self.user = client, app, user

    def post(
        self, data: bytes = TEXT, *, name: str = "note.txt", kind: str = "text/plain"
    ) -> httpx2.Response:
        files = {"file": (name, data, kind)}
        return self.client.post(FILES, headers=self.user.headers, files=files)

    def post_body(self, body: bytes) -> httpx2.Response:
        return self.client.post(FILES, headers={**self.user.headers, **MULTIPART}, content=body)

    def upload(self, data: bytes = TEXT, **how: str) -> str:
        response = self.post(data, **how)
        assert response.status_code == 201, response.text
        file_id: str = response.json()["id"]
        return file_id

    def get(self, path: str, method: str = "GET", **headers: str) -> httpx2.Response:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(
            method, f"{FILES}/{path}", headers={**self.user.headers, **headers}
        )

    def delete(self, file_id: str) -> int:
        return self.client.delete(f"{FILES}/{file_id}", headers=self.user.headers).status_code

    def announce(self, data: bytes = TEXT, **fields: Any) -> httpx2.Response:
        return self.client.post(
            UPLOADS, headers=self.user.headers, json=announcement(data, **fields)
        )

    def announced(self, data: bytes = TEXT, **fields: Any) -> Json:
        response = self.announce(data, **fields)
        assert response.status_code == 201, response.text
        upload: Json = response.json()
        return upload

    def put(self, upload: Json, data: bytes = TEXT, **headers: str) -> int:
        """Send the signed request to the store."""
        headers = {**upload["headers"], "Content-Length": str(len(data)), **headers}
        with httpx2.Client(transport=httpx2.HTTPTransport()) as store:
            return store.request("PUT", upload["url"], content=data, headers=headers).status_code

    def sent(self, data: bytes = TEXT, **fields: Any) -> Json:
        """Announce a file and put it into the store."""
        upload = self.announced(data, **fields)
        assert self.put(upload, data) == 200
        return upload

    def complete(self, upload: Json) -> httpx2.Response:
        return self.client.post(f"{UPLOADS}/{upload['id']}/complete", headers=self.user.headers)

    def keys(self, file_id: str | None = None) -> set[str]:
        """Return the keys of all objects, or of a file's."""
        assert self.client.portal is not None
        keys = self.client.portal.call(keys_of, self.app.state.resources)
        return {key for key in keys if file_id is None or str(id_in(key)) == file_id}


@pytest.fixture
def files(client: TestClient, app: FastAPI, ada: Account) -> FilesClient:
    return FilesClient(client, app, ada)


@pytest.fixture
def others(client: TestClient, app: FastAPI, arrange: ArrangeSync) -> FilesClient:
    """The client of another user, who has all permissions."""
    return FilesClient(client, app, arrange.account(role="admin"))


@pytest.fixture
def limits(app: FastAPI, use: Callable[..., None]) -> Callable[..., None]:
    """Change settings of the storage."""

    def change(**changed: Any) -> None:
        settings = app.state.resources.settings
        storage = settings.storage.model_copy(update=changed)
        use(settings=settings.model_copy(update={"storage": storage}))

    return change


@pytest.fixture(scope="module")
def absent(s3_settings: StorageSettings, running: TestClient) -> Iterator[Storage]:
    """A store that is unreachable."""
    stack = AsyncExitStack()
    yield Storage(nobody(s3_settings), stack)
    assert running.portal is not None
    running.portal.call(stack.aclose)


def assert_refused(response: httpx2.Response, status: int, code: str) -> None:
    assert (response.status_code, response.json()["code"]) == (status, code)


class TestUploadFile:
    def test_stores_a_file(self, files: FilesClient) -> None:
        response = files.post()

        assert response.status_code == 201
        file = response.json()
        assert response.headers["Location"] == f"{FILES}/{file['id']}"
        assert (file["name"], file["media_type"], file["size"]) == ("note.txt", "text/plain", 22)
        assert file["sha256"] == hashlib.sha256(TEXT).hexdigest()
        assert files.get(file["id"]).json() == file
        assert files.get(f"{file['id']}/content").content == TEXT

    @pytest.mark.parametrize(
        ("kind", "status"),
        [
            pytest.param(f"text/plain; charset=utf-8; note={'a' * 200}", 201, id="wordy"),
            pytest.param(f"text/{'a' * 300}", 415, id="long"),
            pytest.param("tex\0t/plain", 415, id="NUL"),
            pytest.param("image/png;charset=\0", 415, id="NUL in a parameter"),
        ],
    )
    def test_checks_the_declared_type(self, files: FilesClient, kind: str, status: int) -> None:
        assert files.post_body(part(kind=kind) + TEXT + END).status_code == status

    @pytest.mark.parametrize(
        ("data", "kind", "code"),
        [
            pytest.param(b"MZ\x90\0" + bytes(60), "image/png", "file_type_mismatch", id="program"),
            pytest.param(PNG, "text/plain", "file_type_mismatch", id="picture as text"),
            pytest.param(b"<html>", "text/html", "unsupported_file_type", id="page"),
            pytest.param(bytes(99), "", "unsupported_file_type", id="unknown"),
        ],
    )
    def test_refuses_other_types(
        self, files: FilesClient, arrange: ArrangeSync, data: bytes, kind: str, code: str
    ) -> None:
        before = files.keys()
        assert_refused(files.post(data, kind=kind), 415, code)
        assert arrange.rows(COUNT) == [(0,)]
        assert files.keys() == before

    def test_refuses_other_bodies(self, client: TestClient, ada: Account) -> None:
        response = client.post(FILES, headers=ada.headers, content=TEXT)
        assert_refused(response, 415, "unsupported_media_type")

    def test_has_a_maximum_size(self, files: FilesClient, arrange: ArrangeSync) -> None:
        files.upload(b"x" * LARGEST_FILE)
        before = files.keys()

        assert_refused(files.post(b"x" * (LARGEST_FILE + 1)), 413, "file_too_large")

        assert arrange.rows(COUNT) == [(1,)]
        assert files.keys() == before

    def test_has_a_quota_of_bytes(self, files: FilesClient, limits: Callable[..., None]) -> None:
        limits(quota_bytes=40)
        files.upload()

        assert_refused(files.post(), 409, "quota_exceeded")
        files.upload(b"x" * 18)
        assert_refused(files.post(b"x"), 409, "quota_exceeded")

    def test_has_a_quota_of_files(
        self,
        files: FilesClient,
        others: FilesClient,
        arrange: ArrangeSync,
        limits: Callable[..., None],
    ) -> None:
        limits(quota_files=2)
        arrange.store(PendingFileFactory.build(owner_id=files.user.id))
        first = files.upload()

        assert_refused(files.post(), 409, "quota_exceeded")

        files.delete(first)
        files.upload()
        others.upload()

    def test_is_refused_if_too_many_are_unfinished(
        self, files: FilesClient, others: FilesClient, arrange: ArrangeSync
    ) -> None:
        rows = [PendingFileFactory.build(owner_id=files.user.id, size=1) for _ in range(100)]
        arrange.store(*rows)

        assert_refused(files.post(), 409, "too_many_uploads")
        assert_refused(files.announce(), 409, "too_many_uploads")

        others.upload()
        assert files.delete(str(rows[0].id)) == 204
        files.upload()

    @pytest.mark.parametrize(
        ("body", "field", "code"),
        [
            pytest.param(END[2:], "body.file", "missing", id="none"),
            pytest.param(part() + END, "body.file", "file_empty", id="empty"),
            pytest.param(part(name=None) + TEXT + END, "body.file", "file_required", id="nameless"),
            pytest.param(
                part() + TEXT + b"\r\n" + part() + TEXT + END, "body.file", "too_many", id="two"
            ),
            pytest.param(
                part() + TEXT + b"\r\n" + part("more", None) + END,
                "body.more",
                "extra_forbidden",
                id="one more field",
            ),
            pytest.param(part("other") + TEXT + END, "body.other", "extra_forbidden", id="other"),
        ],
    )
    def test_requires_exactly_one_file(
        self, files: FilesClient, arrange: ArrangeSync, body: bytes, field: str, code: str
    ) -> None:
        before = files.keys()

        response = files.post_body(body)

        assert response.status_code == 422
        (error,) = response.json()["errors"]
        assert (error["field"], error["code"]) == (field, code)
        assert arrange.rows(COUNT) == [(0,)]
        assert files.keys() == before

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(part() + TEXT, id="no end"),
            pytest.param(b"--other\r\n\r\n", id="another boundary"),
            pytest.param(part()[:-4] + b"\r\nbroken header\r\n\r\n", id="broken header"),
        ],
    )
    def test_refuses_malformed_bodies(
        self, files: FilesClient, arrange: ArrangeSync, body: bytes
    ) -> None:
        assert files.post_body(body).status_code == 400
        assert arrange.rows(COUNT) == [(0,)]

    def test_refuses_an_idempotency_key(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        headers = {**ada.headers, **MULTIPART, "Idempotency-Key": "8e03978e"}
        response = client.post(FILES, headers=headers, content=part() + TEXT + END)
        assert_refused(response, 422, "idempotency_key_not_taken")
        assert arrange.rows(COUNT) == [(0,)]

    def test_is_unavailable_without_the_store(
        self, files: FilesClient, arrange: ArrangeSync, use: Callable[..., None], absent: Storage
    ) -> None:
        use(storage=absent)

        response = files.post()

        assert_refused(response, 503, "file_store_unavailable")
        assert int(response.headers["Retry-After"]) >= 1
        assert "127.0.0.1" not in response.text
        assert arrange.rows(COUNT) == [(0,)]

    def test_sanitizes_the_name(self, files: FilesClient) -> None:
        response = files.post_body(part(name="../../größe.txt") + TEXT + END)
        assert response.json()["name"] == "größe.txt"


class TestListFiles:
    def test_returns_pages(self, client: TestClient, arrange: ArrangeSync, ada: Account) -> None:
        arrange.store(*(FileFactory.build(owner_id=ada.id, name=f"{n}.txt") for n in range(5)))
        arrange.store(PendingFileFactory.build(owner_id=ada.id))
        arrange.store(FileFactory.build(owner_id=arrange.account().id))

        pages: list[list[str]] = []
        cursor = None
        while cursor is not None or not pages:
            query = {"limit": "2", "sort": "name", **({"cursor": cursor} if cursor else {})}
            page = client.get(FILES, headers=ada.headers, params=query).json()
            pages.append([each["name"] for each in page["items"]])
            cursor = page["next_cursor"]

        assert pages == [["0.txt", "1.txt"], ["2.txt", "3.txt"], ["4.txt"]]

    def test_sorts(self, client: TestClient, arrange: ArrangeSync, ada: Account) -> None:
        arrange.store(*(FileFactory.build(owner_id=ada.id, name=f"{n}.txt") for n in range(3)))
        for sort in ("created_at", "-created_at", "name", "-name"):
            page = client.get(FILES, headers=ada.headers, params={"sort": sort}).json()
            names = [each["name"] for each in page["items"]]
            assert names == sorted(names, reverse=sort.startswith("-"))


class TestGetFile:
    @pytest.mark.parametrize("path", ["", "/content", "/link"])
    def test_does_not_find_files_of_others(
        self, files: FilesClient, others: FilesClient, path: str
    ) -> None:
        assert_refused(others.get(f"{files.upload()}{path}"), 404, "file_not_found")

    def test_does_not_find_incomplete_files(self, files: FilesClient, arrange: ArrangeSync) -> None:
        row = PendingFileFactory.build(owner_id=files.user.id)
        arrange.store(row)
        assert files.get(str(row.id)).status_code == 404


class TestDownloadFile:
    def test_returns_an_attachment(self, files: FilesClient) -> None:
        data = TEXT * 100  # long enough to be compressed
        file_id = files.upload(data, name="naïve.txt")

        response = files.get(f"{file_id}/content", Accept_Encoding="gzip")

        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        expected = {
            "Content-Type": "text/plain",
            "Content-Length": "2200",
            "Content-Disposition": attachment("naïve.txt"),
            "X-Content-Type-Options": "nosniff",
            "Accept-Ranges": "bytes",
            "ETag": tag,
            "Cache-Control": "private, no-cache",
        }
        assert response.status_code == 200
        assert {name: response.headers[name] for name in expected} == expected
        assert "Content-Encoding" not in response.headers

    def test_returns_a_range(self, files: FilesClient) -> None:
        path = f"{files.upload()}/content"

        response = files.get(path, Range="bytes=5-9")

        assert (response.status_code, response.content) == (206, TEXT[5:10])
        assert response.headers["Content-Range"] == "bytes 5-9/22"
        assert response.headers["Content-Length"] == "5"
        whole = files.get(path, Range="bytes=5-9", If_Range='"another"')
        assert (whole.status_code, whole.content) == (200, TEXT)

    def test_ignores_a_range_of_too_many_digits(self, files: FilesClient) -> None:
        response = files.get(f"{files.upload()}/content", Range=f"bytes={'1' * 5000}-")

        assert (response.status_code, response.content) == (200, TEXT)

    def test_refuses_a_range_behind_the_end(self, files: FilesClient) -> None:
        response = files.get(f"{files.upload()}/content", Range="bytes=22-")

        assert_refused(response, 416, "range_not_satisfiable")
        assert response.headers["Content-Range"] == "bytes */22"

    def test_returns_nothing_to_clients_that_have_it(self, files: FilesClient) -> None:
        path = f"{files.upload()}/content"
        tag = files.get(path).headers["ETag"]

        response = files.get(path, If_None_Match=f"W/{tag}")

        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["ETag"] == tag
        assert files.get(path, If_None_Match='"another"').content == TEXT

    def test_is_unavailable_without_the_store_but_for_head(
        self, files: FilesClient, use: Callable[..., None], absent: Storage
    ) -> None:
        path = f"{files.upload()}/content"
        use(storage=absent)

        head = files.get(path, "HEAD")

        assert (head.status_code, head.headers["Content-Length"]) == (200, "22")
        assert head.content == b""
        assert_refused(files.get(path), 503, "file_store_unavailable")

    def test_does_not_find_deleted_content(self, files: FilesClient, arrange: ArrangeSync) -> None:
        row = FileFactory.build(owner_id=files.user.id)
        arrange.store(row)
        assert_refused(files.get(f"{row.id}/content"), 404, "object_not_found")


class TestDeleteFile:
    def test_removes_row_and_content(self, files: FilesClient) -> None:
        file_id = files.upload()
        assert files.delete(file_id) == 204
        assert files.get(file_id).status_code == 404
        assert files.keys(file_id) == set()

    def test_does_not_find_files_of_others(self, files: FilesClient, others: FilesClient) -> None:
        file_id = files.upload()
        assert others.delete(file_id) == 404
        assert files.get(file_id).status_code == 200

    def test_cancels_an_upload(self, files: FilesClient, arrange: ArrangeSync) -> None:
        row = PendingFileFactory.build(owner_id=files.user.id)
        arrange.store(row)
        assert files.delete(str(row.id)) == 204
        assert arrange.rows(COUNT) == [(0,)]

    def test_cancels_a_direct_upload_once(self, files: FilesClient) -> None:
        upload = files.announced()
        assert [files.delete(upload["id"]) for _ in range(2)] == [204, 404]
        assert files.get(upload["id"]).status_code == 404
        assert files.complete(upload).status_code == 404

    @pytest.mark.parametrize("is_completed", [False, True], ids=["announced", "completed"])
    def test_frees_space_once_the_signed_request_has_expired(
        self,
        files: FilesClient,
        arrange: ArrangeSync,
        limits: Callable[..., None],
        is_completed: bool,
    ) -> None:
        limits(quota_bytes=len(TEXT))
        upload = files.announced()
        if is_completed:
            files.put(upload)
            files.complete(upload)
        files.delete(upload["id"])
        assert files.put(upload) == 200

        assert_refused(files.announce(), 409, "quota_exceeded")
        assert files.keys(upload["id"]) == {incoming_key(files.user.id, upload["id"])}

        arrange.execute(update(models.File).values(expires_at=utc_now() - timedelta(seconds=1)))
        files.announced()
        assert files.keys(upload["id"]) == set()

    def test_frees_space_at_once_if_the_signed_request_has_expired(
        self, files: FilesClient, arrange: ArrangeSync
    ) -> None:
        upload = files.announced()
        arrange.execute(update(models.File).values(signed_until=utc_now()))
        files.delete(upload["id"])
        assert arrange.rows(COUNT) == [(0,)]


class TestCreateUpload:
    def test_returns_a_request_for_the_store(
        self, files: FilesClient, client: TestClient, s3_settings: StorageSettings
    ) -> None:
        response = files.announce()

        upload = response.json()
        assert response.status_code == 201
        assert response.headers["Location"] == f"{FILES}/{upload['id']}"
        assert upload["method"] == "PUT"
        assert upload["url"].startswith(f"{s3_settings.endpoint_url}/")
        assert files.put(upload) == 200
        assert files.get(upload["id"]).status_code == 404
        assert client.get(FILES, headers=files.user.headers).json()["items"] == []

    @pytest.mark.parametrize(
        ("data", "headers"),
        [
            pytest.param(TEXT + b"!", {}, id="more bytes"),
            pytest.param(TEXT[:-1], {}, id="fewer bytes"),
            pytest.param(TEXT, {"Content-Type": "text/html"}, id="another type"),
            pytest.param(TEXT, {"x-amz-checksum-sha256": "AAAA"}, id="another checksum"),
        ],
    )
    def test_signs_the_announcement(
        self, files: FilesClient, data: bytes, headers: dict[str, str]
    ) -> None:
        assert files.put(files.announced(), data, **headers) == 403

    def test_reserves_space(self, files: FilesClient, limits: Callable[..., None]) -> None:
        limits(quota_bytes=50)
        for _ in range(2):
            files.announced()
        assert_refused(files.announce(), 409, "quota_exceeded")
        files.announced(b"123456")

    def test_is_idempotent_with_a_key(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
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

    def test_reserves_no_space_without_credentials(
        self, files: FilesClient, app: FastAPI, arrange: ArrangeSync, use: Callable[..., None]
    ) -> None:
        class Unsigned(Storage):
            async def signed_put(self, key: str, **_: object) -> SignedRequest:
                raise FileStoreUnavailable

        use(storage=Unsigned(app.state.resources.settings.storage, AsyncExitStack()))

        assert files.announce().status_code == 503
        assert arrange.rows(COUNT) == [(0,)]

    def test_checks_size_and_type(self, files: FilesClient) -> None:
        assert_refused(files.announce(size=LARGEST_FILE + 1), 413, "file_too_large")
        assert_refused(files.announce(media_type="text/html"), 415, "unsupported_file_type")


class TestCompleteUpload:
    def test_makes_a_file_once(self, files: FilesClient) -> None:
        upload = files.sent(name="../a.txt")

        first, second = files.complete(upload), files.complete(upload)

        file = first.json()
        assert (first.status_code, second.status_code, second.json()) == (200, 200, file)
        assert (file["id"], file["name"], file["size"]) == (upload["id"], "a.txt", len(TEXT))
        assert incoming_key(files.user.id, file["id"]) not in files.keys(file["id"])
        files.put(upload, TEXT[::-1])  # too late
        assert files.get(f"{file['id']}/content").content == TEXT

    def test_requires_content(self, files: FilesClient) -> None:
        assert_refused(files.complete(files.announced()), 409, "upload_incomplete")

    def test_requires_the_announced_bytes(self, files: FilesClient) -> None:
        upload = files.announced()
        files.put(upload, TEXT[::-1])  # of the same length: this store checks no checksum

        assert_refused(files.complete(upload), 409, "upload_incomplete")
        assert files.keys(upload["id"]) == {incoming_key(files.user.id, upload["id"])}

    def test_requires_the_announced_size(
        self, client: TestClient, app: FastAPI, files: FilesClient
    ) -> None:
        upload = files.announced()

        async def larger() -> AsyncIterator[bytes]:
            yield TEXT + b"!"

        async def store_another() -> None:
            key = incoming_key(files.user.id, upload["id"])
            await app.state.resources.storage.put(key, larger(), media_type="text/plain")

        assert client.portal is not None
        client.portal.call(store_another)
        assert_refused(files.complete(upload), 409, "upload_incomplete")

    def test_requires_the_announced_type(self, files: FilesClient) -> None:
        assert_refused(files.complete(files.sent(PNG)), 415, "file_type_mismatch")

    def test_has_a_time_limit(self, files: FilesClient, arrange: ArrangeSync) -> None:
        upload = files.sent()
        arrange.execute(update(models.File).values(expires_at=utc_now() - timedelta(seconds=1)))
        assert_refused(files.complete(upload), 409, "upload_expired")

    def test_does_not_find_uploads_of_others(self, files: FilesClient, others: FilesClient) -> None:
        assert others.complete(files.announced()).status_code == 404


class TestGetFileLink:
    def test_needs_no_credentials(self, files: FilesClient) -> None:
        file_id = files.upload(name="größe.txt")

        link = files.get(f"{file_id}/link").json()

        with httpx2.Client(transport=httpx2.HTTPTransport()) as store:
            response = store.get(link["url"])
            forged = store.get(link["url"].replace(file_id, str(new_id())))
        assert (response.status_code, response.content) == (200, TEXT)
        assert forged.status_code in {403, 404}
        assert link["expires_at"] > utc_now().isoformat()


class TestDeleteAccount:
    @pytest.mark.parametrize("by_administrator", [False, True])
    def test_deletes_the_content_at_once(
        self,
        client: TestClient,
        app: FastAPI,
        files: FilesClient,
        others: FilesClient,
        jobs: Jobs,
        by_administrator: bool,
    ) -> None:
        link = files.get(f"{files.upload()}/link").json()["url"]
        files.sent()
        kept = files.keys(others.upload())
        headers = (others if by_administrator else files).user.headers
        user_id = files.user.id if by_administrator else "me"

        assert client.delete(f"/api/v1/users/{user_id}", headers=headers).status_code == 204
        assert client.portal is not None
        for job in jobs():
            client.portal.call(app.state.resources.run, job)

        with httpx2.Client(transport=httpx2.HTTPTransport()) as store:
            assert store.get(link).status_code == 404
        left = files.keys()
        assert [key for key in left if str(files.user.id) in key] == []
        assert kept <= left


class TestReady:
    def test_checks_the_store_as_optional(self, client: TestClient, app: FastAPI) -> None:
        names = {check.name: check.required for check in app.state.resources.health_checks}
        assert names["storage"] is False
        statuses = {each["name"]: each["status"] for each in client.get("/ready").json()["checks"]}
        assert statuses["storage"] == "up"
