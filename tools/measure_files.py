"""Measure how a generated project's memory grows while a large file goes in and out.

Starts the project's own development store and one real server process, uploads and downloads a file
over a socket, and prints how much the server's resident memory grew, and how long it took. Linux.

    python tools/measure_files.py build/demo-service --mebibytes 1024 --python .venv/bin/python
"""

import argparse
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

MEBIBYTE = 1024 * 1024
BOUNDARY = "boundary-of-the-measurement"
PREPARE = """
import json, sys
from pathlib import Path
from app.infrastructure.database import migrations
from dev_servers import backing_services
from app.core.config import Settings
import os
with backing_services(Settings(), Path(sys.argv[1])) as servers:
    migrations.upgrade(os.environ["APP_DATABASE__URL"])
    names = {k: v for k, v in os.environ.items() if k.startswith("APP_")}
    print(json.dumps(names), flush=True)
    sys.stdin.read()
"""


def resident(pid: int) -> float:
    """Return the resident memory of a process, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def body(size: int, digest: "hashlib._Hash") -> Iterator[bytes]:
    """Yield a multipart body with a file of a size in MiB, without keeping it."""
    yield (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="large.txt"\r\n'
        "Content-Type: text/plain\r\n\r\n"
    ).encode()
    for number in range(size):
        block = (f"{number:015d}\n".encode()) * (MEBIBYTE // 16)
        digest.update(block)
        yield block
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def measured(pid: int, work: Callable[[], None]) -> tuple[float, float]:
    """Do something; return how many MiB the process grew at most, and the seconds it took."""
    before, most, done = resident(pid), 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.05):
            most = max(most, resident(pid))

    watching = threading.Thread(target=watch)
    watching.start()
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    done.set()
    watching.join()
    return most - before, seconds


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--python", default=sys.executable)
    arguments = parser.parse_args()
    size: int = arguments.mebibytes
    base = {**os.environ, "PYTHONPATH": "src"}
    with tempfile.TemporaryDirectory() as place:
        servers = subprocess.Popen(
            [arguments.python, "-c", PREPARE, place],
            cwd=arguments.project,
            env=base,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert servers.stdout is not None
        names = json.loads(servers.stdout.readline())
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        limits = {
            "APP_STORAGE__MAX_FILE_BYTES": str(size * MEBIBYTE),
            "APP_STORAGE__QUOTA_BYTES": str(2 * size * MEBIBYTE + MEBIBYTE),
        }
        server = subprocess.Popen(
            [arguments.python, "-m", "uvicorn", "app.asgi:app", "--port", str(port)],
            cwd=arguments.project,
            env={**base, **names, **limits},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _measure(server.pid, port, size)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
            assert servers.stdin is not None
            servers.stdin.close()
            servers.wait(30)


def _measure(pid: int, port: int, size: int) -> None:
    token = _token(port)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
    }
    # A small one first: what the server makes once, such as its client of the store, is not growth.
    _sent(port, headers, 1)
    digest, file = hashlib.sha256(), {}

    def upload() -> None:
        file.update(_sent(port, headers, size, digest))

    grown, seconds = measured(pid, upload)
    print(f"upload of {size} MiB: grew {grown:.1f} MiB, {seconds:.1f} s")
    assert file["sha256"] == digest.hexdigest()
    received = hashlib.sha256()

    def download() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", f"/api/v1/files/{file['id']}/content", headers=headers)
        response = connection.getresponse()
        while chunk := response.read(MEBIBYTE):
            received.update(chunk)
        connection.close()

    grown, seconds = measured(pid, download)
    print(f"download of {size} MiB: grew {grown:.1f} MiB, {seconds:.1f} s")
    assert received.hexdigest() == digest.hexdigest()


def _sent(
    port: int, headers: Mapping[str, str], size: int, digest: "hashlib._Hash | None" = None
) -> dict[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(
        "POST",
        "/api/v1/files",
        body=body(size, digest or hashlib.sha256()),
        headers=dict(headers),
        encode_chunked=True,
    )
    answer: dict[str, str] = json.load(connection.getresponse())
    connection.close()
    return answer


def _token(port: int) -> str:
    account = {"email": "ada@example.com", "username": "ada", "password": "Analytical1Engine"}
    deadline = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        try:
            kind = {"Content-Type": "application/json"}
            connection.request("POST", "/api/v1/users", json.dumps(account), kind)
            connection.getresponse().read()
            break
        except ConnectionError:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)
    form = "username=ada&password=Analytical1Engine"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/api/v1/auth/token", form, kind)
    token: str = json.load(connection.getresponse())["access_token"]
    return token


if __name__ == "__main__":
    main()
