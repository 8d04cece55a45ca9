"""Files: through the service, one request at a time."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from httpx2 import Headers
from sqlalchemy import func, select
from starlette.testclient import TestClient

from app import models
from app.core.config.storage import StorageSettings
from app.domain.files import id_in
from app.infrastructure.storage import Storage
from app.resources import Resources
from tests.support.arrange import ArrangeSync, Someone
from tests.support.files import (
    END,
    FILES,
    MULTIPART,
    PNG,
    TEXT,
    FileFactory,
    PendingFileFactory,
    keys_of,
    part,
)
from tests.support.s3_plugin import LARGEST_FILE, nobody

Json = dict[str, Any]
COUNT = select(func.count()).select_from(models.File)


@pytest.fixture
def ada(arrange: ArrangeSync) -> Someone:
    return arrange.someone()


@pytest.fixture
def limits(app: FastAPI, use: Callable[..., None]) -> Callable[..., None]:
    """Change what files may be, for this test."""

    def change(**changed: Any) -> None:
        settings = app.state.resources.settings
        storage = settings.storage.model_copy(update=changed)
        use(settings=settings.model_copy(update={"storage": storage}))

    return change


@pytest.fixture(scope="module")
def absent(s3_settings: StorageSettings, running: TestClient) -> Iterator[Storage]:
    """A store that nobody reaches."""
    stack = AsyncExitStack()
    yield Storage(nobody(s3_settings), stack)
    assert running.portal is not None
    running.portal.call(stack.aclose)


def send(
    client: TestClient,
    someone: Someone,
    data: bytes = TEXT,
    *,
    name: str = "note.txt",
    kind: str = "text/plain",
) -> httpx2.Response:
    return client.post(FILES, headers=someone.headers, files={"file": (name, data, kind)})


def uploaded(client: TestClient, someone: Someone, data: bytes = TEXT, **how: str) -> Json:
    response = send(client, someone, data, **how)
    assert response.status_code == 201, response.text
    body: Json = response.json()
    return body


def stored_keys(client: TestClient, app: FastAPI) -> set[str]:
    assert client.portal is not None
    resources: Resources = app.state.resources
    return client.portal.call(keys_of, resources)


def code_of(response: httpx2.Response) -> str:
    code: str = response.json()["code"]
    return code


class TestUploadFile:
    def test_takes_a_file(self, client: TestClient, ada: Someone) -> None:
        response = send(client, ada)

        assert response.status_code == 201
        file = response.json()
        assert response.headers["Location"] == f"{FILES}/{file['id']}"
        assert (file["name"], file["media_type"], file["size"]) == ("note.txt", "text/plain", 22)
        assert file["sha256"] == hashlib.sha256(TEXT).hexdigest()
        assert client.get(response.headers["Location"], headers=ada.headers).json() == file
        content = client.get(f"{FILES}/{file['id']}/content", headers=ada.headers)
        assert content.content == TEXT

    @pytest.mark.parametrize(
        ("kind", "status"),
        [
            pytest.param(f"text/plain; charset=utf-8; note={'a' * 200}", 201, id="wordy"),
            pytest.param(f"text/{'a' * 300}", 415, id="long"),
            pytest.param("tex\0t/plain", 415, id="NUL"),
            pytest.param("image/png;charset=\0", 415, id="NUL beside"),
        ],
    )
    def test_looks_at_what_a_part_says_before_it_is_stored(
        self, client: TestClient, ada: Someone, kind: str, status: int
    ) -> None:
        headers = {**ada.headers, **MULTIPART}
        response = client.post(FILES, headers=headers, content=part(kind=kind) + TEXT + END)
        assert response.status_code == status, response.text

    def test_finds_out_what_nobody_says(self, client: TestClient, ada: Someone) -> None:
        kinds = [
            uploaded(client, ada, data, kind="application/octet-stream")["media_type"]
            for data in (PNG, TEXT, b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
        ]
        assert kinds == ["image/png", "text/plain", "application/pdf"]

    @pytest.mark.parametrize(
        ("data", "kind", "code"),
        [
            pytest.param(b"MZ\x90\0" + bytes(60), "image/png", "file_type_mismatch", id="program"),
            pytest.param(TEXT, "image/png", "file_type_mismatch", id="text as picture"),
            pytest.param(PNG, "text/plain", "file_type_mismatch", id="picture as text"),
            pytest.param(TEXT, "application/json", "file_type_mismatch", id="no json"),
            pytest.param(b"<html>", "text/html", "unsupported_file_type", id="page"),
            pytest.param(bytes(99), "", "unsupported_file_type", id="nothing known"),
        ],
    )
    def test_refuses_what_is_not_what_it_says(
        self,
        client: TestClient,
        app: FastAPI,
        arrange: ArrangeSync,
        ada: Someone,
        data: bytes,
        kind: str,
        code: str,
    ) -> None:
        before = stored_keys(client, app)

        response = send(client, ada, data, kind=kind)

        assert response.status_code == 415
        assert code_of(response) == code
        assert arrange.rows(COUNT)[0][0] == 0
        assert stored_keys(client, app) == before

    def test_refuses_another_kind_of_body(self, client: TestClient, ada: Someone) -> None:
        response = client.post(FILES, headers=ada.headers, content=TEXT)

        assert response.status_code == 415
        assert code_of(response) == "unsupported_media_type"

    def test_takes_the_largest_file(self, client: TestClient, ada: Someone) -> None:
        assert uploaded(client, ada, b"x" * LARGEST_FILE)["size"] == LARGEST_FILE

    def test_refuses_one_byte_more(
        self, client: TestClient, app: FastAPI, arrange: ArrangeSync, ada: Someone
    ) -> None:
        before = stored_keys(client, app)

        response = send(client, ada, b"x" * (LARGEST_FILE + 1))

        assert response.status_code == 413
        assert code_of(response) == "file_too_large"
        assert arrange.rows(COUNT)[0][0] == 0
        assert stored_keys(client, app) == before

    def test_refuses_more_bytes_than_there_is_room_for(
        self, client: TestClient, limits: Callable[..., None], ada: Someone
    ) -> None:
        limits(quota_bytes=40)
        uploaded(client, ada)

        response = send(client, ada)

        assert response.status_code == 409
        assert code_of(response) == "quota_exceeded"
        assert uploaded(client, ada, b"x" * 18)["size"] == 18
        assert code_of(send(client, ada, b"x")) == "quota_exceeded"

    def test_refuses_more_files_than_one_may_have(
        self, client: TestClient, arrange: ArrangeSync, limits: Callable[..., None], ada: Someone
    ) -> None:
        limits(quota_files=2)
        arrange.store(PendingFileFactory.build(owner_id=ada.id))
        first = uploaded(client, ada)

        assert code_of(send(client, ada)) == "quota_exceeded"

        client.delete(f"{FILES}/{first['id']}", headers=ada.headers)
        uploaded(client, ada)
        uploaded(client, arrange.someone())

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
    def test_refuses_anything_but_one_file(
        self,
        client: TestClient,
        app: FastAPI,
        arrange: ArrangeSync,
        ada: Someone,
        body: bytes,
        field: str,
        code: str,
    ) -> None:
        before = stored_keys(client, app)

        response = client.post(FILES, headers={**ada.headers, **MULTIPART}, content=body)

        assert response.status_code == 422
        (error,) = response.json()["errors"]
        assert (error["field"], error["code"]) == (field, code)
        assert arrange.rows(COUNT)[0][0] == 0
        assert stored_keys(client, app) == before

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(part() + TEXT, id="no end"),
            pytest.param(b"--other\r\n\r\n", id="another boundary"),
            pytest.param(part()[:-4] + b"\r\nbroken header\r\n\r\n", id="broken header"),
        ],
    )
    def test_refuses_a_body_that_is_malformed(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, body: bytes
    ) -> None:
        response = client.post(FILES, headers={**ada.headers, **MULTIPART}, content=body)

        assert response.status_code == 400
        assert arrange.rows(COUNT)[0][0] == 0

    def test_refuses_a_promise_that_it_does_not_give(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        response = client.post(
            FILES,
            headers={**ada.headers, "Idempotency-Key": "8e03978e"},
            files={"file": ("note.txt", TEXT, "text/plain")},
        )

        assert response.status_code == 422
        assert code_of(response) == "idempotency_key_not_taken"
        assert arrange.rows(COUNT)[0][0] == 0

    def test_tells_while_the_store_is_away_and_keeps_no_row(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        use: Callable[..., None],
        absent: Storage,
        ada: Someone,
    ) -> None:
        use(storage=absent)

        response = send(client, ada)

        assert response.status_code == 503
        assert code_of(response) == "file_store_unavailable"
        assert int(response.headers["Retry-After"]) >= 1
        assert "127.0.0.1" not in response.text
        assert arrange.rows(COUNT)[0][0] == 0


class TestNames:
    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            ("../../etc/passwd", "passwd"),
            ("C:\\temp\\a.txt", "a.txt"),
            ("..", "unnamed"),
            ("a\u202efdp.exe", "afdp.exe"),
            ("größe ✓.txt", "größe ✓.txt"),
            (".profile", "profile"),
            ("x" * 300 + ".txt", "x" * 196 + ".txt"),
        ],
    )
    def test_are_kept_without_what_could_harm(
        self, client: TestClient, ada: Someone, name: str, kept: str
    ) -> None:
        body = part(name=name) + TEXT + END
        response = client.post(FILES, headers={**ada.headers, **MULTIPART}, content=body)
        assert response.json()["name"] == kept

    @pytest.mark.parametrize(
        ("name", "header"),
        [
            ("note.txt", 'attachment; filename="note.txt"'),
            ('a"b.txt', "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
            ("50%41.txt", "attachment; filename=\"50_41.txt\"; filename*=UTF-8''50%2541.txt"),
            (
                "naïve.txt",
                f"attachment; filename=\"na_ve.txt\"; filename*=UTF-8''{quote('naïve')}.txt",
            ),
            (
                "a\r\nX-Evil: 1",
                "attachment; filename=\"a__X-Evil_ 1\"; filename*=UTF-8''a%0D%0AX-Evil%3A%201",
            ),
        ],
    )
    def test_can_not_break_out_of_the_header(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, name: str, header: str
    ) -> None:
        row = FileFactory.build(owner_id=ada.id, name=name)
        arrange.store(row)

        content = client.head(f"{FILES}/{row.id}/content", headers=ada.headers)

        assert content.headers["Content-Disposition"] == header
        assert "X-Evil" not in content.headers


class TestListFiles:
    def test_gives_page_after_page(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        rows = [FileFactory.build(owner_id=ada.id, name=f"{n}.txt") for n in range(5)]
        arrange.store(*rows, PendingFileFactory.build(owner_id=ada.id))
        arrange.store(FileFactory.build(owner_id=arrange.someone().id))

        pages: list[list[str]] = []
        cursor = None
        while cursor is not None or not pages:
            query = {"limit": "2", "sort": "name", **({"cursor": cursor} if cursor else {})}
            page = client.get(FILES, headers=ada.headers, params=query).json()
            pages.append([each["name"] for each in page["items"]])
            cursor = page["next_cursor"]

        assert pages == [["0.txt", "1.txt"], ["2.txt", "3.txt"], ["4.txt"]]

    @pytest.mark.parametrize("sort", ["created_at", "-created_at", "name", "-name"])
    def test_sorts(self, client: TestClient, arrange: ArrangeSync, ada: Someone, sort: str) -> None:
        rows = [FileFactory.build(owner_id=ada.id, name=f"{n}.txt") for n in range(3)]
        arrange.store(*rows)

        page = client.get(FILES, headers=ada.headers, params={"sort": sort}).json()

        names = [each["name"] for each in page["items"]]
        assert names == sorted(names, reverse=sort.startswith("-"))


class TestGetFile:
    @pytest.mark.parametrize("path", ["", "/content", "/link"])
    def test_finds_nothing_of_others(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, path: str
    ) -> None:
        file = uploaded(client, ada)
        other = arrange.someone(role="admin")

        response = client.get(f"{FILES}/{file['id']}{path}", headers=other.headers)

        assert response.status_code == 404
        assert code_of(response) == "file_not_found"

    def test_finds_nothing_that_is_not_all_there(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        row = PendingFileFactory.build(owner_id=ada.id)
        arrange.store(row)

        assert client.get(f"{FILES}/{row.id}", headers=ada.headers).status_code == 404


class TestDownloadFile:
    def test_is_to_be_saved_and_not_shown(self, client: TestClient, ada: Someone) -> None:
        file = uploaded(client, ada)

        response = client.get(f"{FILES}/{file['id']}/content", headers=ada.headers)

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/plain"
        assert response.headers["Content-Length"] == "22"
        assert response.headers["Content-Disposition"].startswith("attachment;")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Accept-Ranges"] == "bytes"
        assert response.headers["ETag"] == f'"{file["sha256"]}"'
        assert response.headers["Cache-Control"] == "private, no-cache"

    def test_is_not_compressed(self, client: TestClient, ada: Someone) -> None:
        data = b"a line\n" * 1000
        file = uploaded(client, ada, data)

        response = client.get(
            f"{FILES}/{file['id']}/content", headers={**ada.headers, "Accept-Encoding": "gzip"}
        )

        assert "Content-Encoding" not in response.headers
        assert response.headers["Content-Length"] == str(len(data))

    @pytest.mark.parametrize(
        ("wanted", "first", "last"),
        [
            ("bytes=0-4", 0, 4),
            ("bytes=5-", 5, 21),
            ("bytes=-3", 19, 21),
            ("bytes=-99", 0, 21),
            ("bytes=20-99", 20, 21),
            ("bytes=0-0", 0, 0),
            ("BYTES=0-0", 0, 0),
        ],
    )
    def test_gives_a_range(
        self, client: TestClient, ada: Someone, wanted: str, first: int, last: int
    ) -> None:
        file = uploaded(client, ada)

        response = client.get(
            f"{FILES}/{file['id']}/content", headers={**ada.headers, "Range": wanted}
        )

        assert response.status_code == 206
        assert response.content == TEXT[first : last + 1]
        assert response.headers["Content-Range"] == f"bytes {first}-{last}/22"
        assert response.headers["Content-Length"] == str(last - first + 1)

    @pytest.mark.parametrize(
        "wanted",
        ["bytes=5-4", "bytes=0-1,4-5", "lines=1-2", "bytes=-", "bytes=a-b", "bytes=٣-٤", "x" * 900],
    )
    def test_gives_all_where_no_single_range_is_asked_for(
        self, client: TestClient, ada: Someone, wanted: str
    ) -> None:
        file = uploaded(client, ada)

        response = client.get(
            f"{FILES}/{file['id']}/content",
            headers=Headers({**ada.headers, "Range": wanted}, encoding="utf-8"),
        )

        assert response.status_code == 200
        assert response.content == TEXT

    @pytest.mark.parametrize("wanted", ["bytes=22-", "bytes=99-100", "bytes=-0"])
    def test_refuses_a_range_behind_the_end(
        self, client: TestClient, ada: Someone, wanted: str
    ) -> None:
        file = uploaded(client, ada)

        response = client.get(
            f"{FILES}/{file['id']}/content", headers={**ada.headers, "Range": wanted}
        )

        assert response.status_code == 416
        assert response.headers["Content-Range"] == "bytes */22"
        assert code_of(response) == "range_not_satisfiable"

    def test_heeds_a_range_only_of_the_version_it_is_meant_for(
        self, client: TestClient, ada: Someone
    ) -> None:
        file = uploaded(client, ada)
        path = f"{FILES}/{file['id']}/content"
        tags = (f'"{file["sha256"]}"', '"another"')

        statuses = [
            client.get(
                path, headers={**ada.headers, "Range": "bytes=0-1", "If-Range": tag}
            ).status_code
            for tag in tags
        ]

        assert statuses == [206, 200]

    @pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', '"x", "{}"', "*"])
    def test_is_not_sent_to_whoever_has_it(
        self, client: TestClient, ada: Someone, form: str
    ) -> None:
        file = uploaded(client, ada)

        response = client.get(
            f"{FILES}/{file['id']}/content",
            headers={**ada.headers, "If-None-Match": form.format(file["sha256"])},
        )

        assert response.status_code == 304
        assert response.content == b""
        assert response.headers["ETag"] == f'"{file["sha256"]}"'

    def test_is_sent_to_whoever_has_another_version(self, client: TestClient, ada: Someone) -> None:
        file = uploaded(client, ada)
        headers = {**ada.headers, "If-None-Match": '"another"'}
        assert client.get(f"{FILES}/{file['id']}/content", headers=headers).content == TEXT

    def test_asks_the_store_for_nothing_by_head(
        self, client: TestClient, use: Callable[..., None], absent: Storage, ada: Someone
    ) -> None:
        file = uploaded(client, ada)
        use(storage=absent)

        response = client.head(f"{FILES}/{file['id']}/content", headers=ada.headers)

        assert response.status_code == 200
        assert response.headers["Content-Length"] == "22"
        assert response.content == b""

    def test_tells_while_the_store_is_away(
        self, client: TestClient, use: Callable[..., None], absent: Storage, ada: Someone
    ) -> None:
        file = uploaded(client, ada)
        use(storage=absent)

        response = client.get(f"{FILES}/{file['id']}/content", headers=ada.headers)

        assert response.status_code == 503
        assert code_of(response) == "file_store_unavailable"

    def test_tells_if_the_content_was_deleted_a_moment_ago(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        row = FileFactory.build(owner_id=ada.id)
        arrange.store(row)

        response = client.get(f"{FILES}/{row.id}/content", headers=ada.headers)

        assert response.status_code == 404
        assert code_of(response) == "object_not_found"


class TestDeleteFile:
    def test_removes_row_and_content(self, client: TestClient, app: FastAPI, ada: Someone) -> None:
        file = uploaded(client, ada)
        before = stored_keys(client, app)

        assert client.delete(f"{FILES}/{file['id']}", headers=ada.headers).status_code == 204

        assert client.get(f"{FILES}/{file['id']}", headers=ada.headers).status_code == 404
        (gone,) = before - stored_keys(client, app)
        assert id_in(gone) == UUID(file["id"])

    def test_finds_nothing_of_others(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        file = uploaded(client, ada)
        other = arrange.someone(role="admin")

        assert client.delete(f"{FILES}/{file['id']}", headers=other.headers).status_code == 404
        assert client.get(f"{FILES}/{file['id']}", headers=ada.headers).status_code == 200

    def test_cancels_an_upload(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        row = PendingFileFactory.build(owner_id=ada.id)
        arrange.store(row)

        assert client.delete(f"{FILES}/{row.id}", headers=ada.headers).status_code == 204
        assert arrange.rows(COUNT)[0][0] == 0


class TestReady:
    def test_is_degraded_while_the_store_is_away(self, client: TestClient, app: FastAPI) -> None:
        names = {check.name: check.required for check in app.state.resources.health_checks}
        assert names["storage"] is False
        statuses = {each["name"]: each["status"] for each in client.get("/ready").json()["checks"]}
        assert statuses["storage"] == "up"
