"""A large file on its way into the store and out of it: time, and growth of the worker's memory."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.measures import Row, Samples
from benchmarks.projects import Project, Surroundings, by_hand, service
from benchmarks.rows import Effort, Say
from benchmarks.serving import Server, serving

MEBIBYTE = 1024 * 1024
_MOST_GROWTH_MIB = 64.0
_PATH = "/api/v1/files"
_PART_BYTES = 8 * MEBIBYTE
_SECONDS = 900
_BOUNDARY = "boundary-of-the-benchmarks"
_LINE = b"Note G, with a table and diagrams of the engine's operations.\r\n"
_NUMBER = b"%015d\n"
_REST = (_LINE * (MEBIBYTE // len(_LINE) + 1))[: MEBIBYTE - len(_NUMBER % 0)]


@dataclass(frozen=True, slots=True)
class Form:
    """What a body has around the content of the file.

    Attributes:
        media_type: Of the body.
        head: What comes before the content.
        tail: What comes after it.
    """

    media_type: str
    head: bytes = b""
    tail: bytes = b""


MULTIPART = Form(
    f"multipart/form-data; boundary={_BOUNDARY}",
    (
        f"--{_BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="large.txt"\r\n'
        "Content-Type: text/plain\r\n\r\n"
    ).encode(),
    f"\r\n--{_BOUNDARY}--\r\n".encode(),
)
BARE = Form("text/plain")


@dataclass(frozen=True, slots=True)
class _Store:
    """A server that takes and gives files, and what was measured of it.

    Attributes:
        server: Which.
        form: How it takes them.
        token: Of whose files they are.
        before_mib: Its worker's memory before it has seen a large one.
    """

    server: Server
    form: Form
    token: str
    before_mib: float
    uploads: list[float] = field(default_factory=list)
    downloads: list[float] = field(default_factory=list)
    growth: list[float] = field(default_factory=list)


def measure(
    project: Project, behind: Surroundings, effort: Effort, folder: Path, say: Say
) -> list[Row]:
    """Return the rows of files; the project has to have the module for them."""
    most = effort.mebibytes * MEBIBYTE
    generated = service(
        project,
        behind,
        APP_STORAGE__PART_SIZE=str(_PART_BYTES),
        APP_STORAGE__MAX_FILE_BYTES=str(most),
        APP_STORAGE__QUOTA_BYTES=str(2 * most + MEBIBYTE),
    )
    bare = by_hand("files", project, behind, APP_STORAGE__PART_SIZE=str(_PART_BYTES))
    with ExitStack() as stack:
        ours, floor = (
            _warm(
                stack.enter_context(serving(app, log=folder / f"{app.name}.log")),
                form,
                behind.facts["ada_token"],
            )
            for app, form in ((generated, MULTIPART), (bare, BARE))
        )
        for _ in range(max(2, (effort.rounds + 1) // 2)):
            for each in (ours, floor):
                _round(each, effort.mebibytes)
    rows = _rows(ours, floor, effort.mebibytes)
    for row in rows:
        say(f"{row.name}: {row.ratio:.2f} ({row.service.values})")
    return rows


def blocks(mebibytes: int) -> Iterator[bytes]:
    """Yield a text, a MiB of it at a time."""
    for number in range(mebibytes):
        yield _NUMBER % number + _REST


def upload(url: str, token: str, form: Form, mebibytes: int) -> str:
    """Send a file that is never in memory as a whole, and return its id."""
    length = len(form.head) + mebibytes * MEBIBYTE + len(form.tail)
    headers = {"Content-Type": form.media_type, "Content-Length": str(length)}
    body = chain((form.head,), blocks(mebibytes), (form.tail,))
    with closing(_connection(url)) as connection:
        response = _asked(connection, "POST", _PATH, token, headers, body)
        file_id: str = json.load(response)["id"]
    return file_id


def download(url: str, token: str, file_id: str, mebibytes: int) -> None:
    """Fetch a file, and see that it is what was sent.

    Raises:
        RuntimeError: It is something else.
    """
    with closing(_connection(url)) as connection:
        response = _asked(connection, "GET", f"{_PATH}/{file_id}/content", token)
        # Compared and not hashed: what the client computes, the server can't.
        same = all(response.read(MEBIBYTE) == block for block in blocks(mebibytes))
        if not same or response.read(1):
            raise RuntimeError(f"{url} gives another file than it was sent")


def delete(url: str, token: str, file_id: str) -> None:
    """Have a file deleted."""
    with closing(_connection(url)) as connection:
        _asked(connection, "DELETE", f"{_PATH}/{file_id}", token).read()


def _connection(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=_SECONDS)


def _asked(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    token: str,
    headers: dict[str, str] | None = None,
    body: Any = None,  # noqa: ANN401 - http.client has more kinds of bodies than it has a name for
) -> http.client.HTTPResponse:
    """Send a request, and return the answer, of which the body is not read yet.

    Raises:
        RuntimeError: It was refused.
    """
    bearer = {"Authorization": f"Bearer {token}", **(headers or {})}
    connection.request(method, path, body, bearer)
    response = connection.getresponse()
    if response.status >= http.HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"{method} {path} answers {response.status}: {response.read(1000)!r}")
    return response


def _warm(server: Server, form: Form, token: str) -> _Store:
    """Have a server make what it makes once, such as its client of the store: that is no growth."""
    file_id = upload(server.url, token, form, 1)
    download(server.url, token, file_id, 1)
    delete(server.url, token, file_id)
    return _Store(server, form, token, server.memory_mib())


def _round(store: _Store, mebibytes: int) -> None:
    """Send a large file and fetch it, and leave none."""
    url, token = store.server.url, store.token
    store.server.forget_peak()
    started = time.perf_counter()
    file_id = upload(url, token, store.form, mebibytes)
    between = time.perf_counter()
    download(url, token, file_id, mebibytes)
    store.uploads.append(between - started)
    store.downloads.append(time.perf_counter() - between)
    store.growth.append(store.server.peak_mib() - store.before_mib)
    delete(url, token, file_id)


def _rows(ours: _Store, floor: _Store, mebibytes: int) -> list[Row]:
    times = [
        Row(
            f"{what} of a file of {mebibytes:,} MiB",
            "s",
            Samples(tuple(by_us)),
            Samples(tuple(by_hand)),
            1.3,
            against="aioboto3 by hand",
        )
        for what, by_us, by_hand in (
            ("upload", ours.uploads, floor.uploads),
            ("download", ours.downloads, floor.downloads),
        )
    ]
    growth = Row(
        "upload and download: growth of memory",
        "MiB",
        Samples(tuple(ours.growth)),
        Samples((_MOST_GROWTH_MIB,)),
        1.0,
        against=f"{_MOST_GROWTH_MIB:g} MiB",
        remark="the worker's peak above what it had before any",
        others={"floor": Samples(tuple(floor.growth))},
    )
    return [*times, growth]
