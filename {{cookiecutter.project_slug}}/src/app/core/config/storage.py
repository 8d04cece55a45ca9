"""Settings of file storage."""

from collections.abc import Iterator
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from app.core.config.base import ListOf, SettingsGroup, matching, network_of_host

_MEBIBYTE: Final = 1024**2
_GIBIBYTE: Final = 1024**3
_SHORTEST_SECRET: Final = 16


_ADDRESS_FORM: Final = "must be 'https://host' or 'http://host:port', without a key in it"


def _check_address(url: str) -> str:
    try:
        has_port = urlsplit(url).port != 0
    except ValueError:
        has_port = False
    if not has_port:
        raise ValueError(_ADDRESS_FORM)
    return url


Address = Annotated[
    str,
    matching(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", _ADDRESS_FORM),
    AfterValidator(_check_address),
]
Bucket = Annotated[
    str,
    matching(
        r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "must be 3 to 63 lower-case letters, digits, dots and hyphens",
    ),
]
Directory = Annotated[
    str,
    matching(
        r"([A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*)?",
        "must be letters, digits, '-', '_' and '.', with '/' between folders",
    ),
]
MediaType = Annotated[
    str,
    matching(
        r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*",
        "{!r} is not a media type such as 'image/png'",
    ),
]


class StorageSettings(SettingsGroup):
    """File storage in a bucket of S3 or a compatible store."""

    endpoint_url: Address = "http://127.0.0.1:9000"
    """Address of the store, such as `https://s3.eu-central-1.amazonaws.com`. Required in
    production."""

    public_endpoint_url: Address | None = None
    """Address of the store for clients, in signed URLs. Unset: the same."""

    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "us-east-1"
    """Region of the bucket; part of every signature."""

    bucket: Bucket = "app"
    """Name of an existing bucket."""

    directory: Directory = ""
    """Folder in the bucket for all objects, without leading or trailing slash. Unset: none."""

    access_key_id: str | None = None
    """Access key. Unset: the credentials of the machine, e.g. an instance role."""

    secret_access_key: SecretStr | None = None
    """Secret of the access key."""

    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    """Bucket in the path or in the host name. Self-hosted stores mostly need `path`."""

    part_size: Annotated[int, Field(ge=5 * _MEBIBYTE, le=512 * _MEBIBYTE)] = 8 * _MEBIBYTE
    """Size of a part of a multipart upload, in bytes. It is collected in a temporary file (in
    `TMPDIR`, which should be a disk), and held in memory up to five times while it is sent."""

    connect_timeout: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Seconds that opening a connection to the store may take."""

    read_timeout: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Seconds to wait for data from the store."""

    call_timeout: Annotated[float, Field(gt=0, le=3600)] = 15.0
    """Seconds that one call may take in all, with retries. If the store hangs, a request is
    answered with 503 after this time."""

    removal_timeout: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Seconds that a request waits for the removal of objects. `app prune` removes leftovers."""

    max_attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """Attempts of a call before the request is answered with 503."""

    max_file_bytes: Annotated[int, Field(ge=1, le=5 * _GIBIBYTE)] = 100 * _MEBIBYTE
    """Maximum size of a file, in bytes."""

    quota_bytes: Annotated[int, Field(ge=1, le=1024 * _GIBIBYTE)] = _GIBIBYTE
    """Maximum size of all files of a user, in bytes."""

    quota_files: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Maximum number of files of a user."""

    unfinished_uploads: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Uploads of a user that are not complete; further ones are refused."""

    media_types: ListOf[MediaType] = Field(
        default=[
            "application/json",
            "application/pdf",
            "application/zip",
            "audio/mpeg",
            "image/gif",
            "image/jpeg",
            "image/png",
            "image/webp",
            "text/csv",
            "text/plain",
            "video/mp4",
        ]
    )
    """Accepted media types. The declared type of a file must match its content."""

    upload_seconds: Annotated[int, Field(ge=1, le=86_400)] = 3600
    """Seconds that an upload may take from start to completion."""

    presign_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    """Lifetime of a signed URL, in seconds: anyone who has it can use it."""

    def check(self, *, production: bool) -> Iterator[tuple[str, str]]:
        """Require complete, strong credentials and an address in production."""
        if (self.access_key_id is None) != (self.secret_access_key is None):
            missing = "access_key_id" if self.access_key_id is None else "secret_access_key"
            yield missing, "must be set: the access key and its secret go together"
        if self.presign_seconds > self.upload_seconds:
            yield "presign_seconds", "can't be more than APP_STORAGE__UPLOAD_SECONDS"
        if not production:
            return
        if "endpoint_url" not in self.model_fields_set:
            yield "endpoint_url", "must be set in production"
        if self.secret_access_key and len(self.secret_access_key) < _SHORTEST_SECRET:
            yield "secret_access_key", f"must have {_SHORTEST_SECRET} random characters or more"
        for name, network in self._unencrypted():
            if network == "public":
                yield name, "must start with https://: the host is public"

    def risks(self) -> Iterator[tuple[str, str]]:
        """Warn about unencrypted traffic."""
        for name, network in self._unencrypted():
            if network == "private":
                yield name, "has no TLS: files and signed URLs are sent unencrypted"

    def _unencrypted(self) -> Iterator[tuple[str, str]]:
        for name in ("endpoint_url", "public_endpoint_url"):
            address = urlsplit(getattr(self, name) or "")
            if address.scheme == "http":
                yield name, network_of_host(address.hostname)
