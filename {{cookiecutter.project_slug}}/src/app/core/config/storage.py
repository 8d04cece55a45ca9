"""Settings of stored files."""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from app.core.config.base import Fault, Location, Names, SettingsGroup, refusal

_MEBIBYTE: Final = 1024**2
_GIBIBYTE: Final = 1024**3
_ADDRESS: Final = re.compile(r"https?://[^/?#@]+(/[^?#@]*)?")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_DIRECTORY: Final = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*)?")
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")
_GUESSABLE: Final = frozenset(
    {"minioadmin", "minio123", "password", "changeme", "change-me", "secret", "secretkey", "admin"}
)
_SHORTEST_SECRET: Final = 16


class StorageSettings(SettingsGroup):
    """Where files are kept: a bucket of S3, or of a store that speaks its language."""

    endpoint_url: str = "http://127.0.0.1:9000"
    """Address of the store, such as `https://s3.eu-central-1.amazonaws.com` for AWS. Production
    needs one."""

    public_endpoint_url: str | None = None
    """Address by which clients reach the store, for what they send or fetch themselves. Unset: the
    same as ours."""

    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "us-east-1"
    """Region of the bucket; it is part of every signature."""

    bucket: str = "app"
    """Name of the bucket. It must exist; the service makes none."""

    directory: str = ""
    """Folder in the bucket that everything goes to, without a slash around it. Unset: none."""

    access_key_id: str | None = None
    """Id of the access key. Unset: what the machine is given, as by the role of an instance."""

    secret_access_key: SecretStr | None = None
    """Secret that belongs to the access key."""

    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    """Whether the bucket stands in the path or in the host name. Own stores mostly need `path`."""

    part_size: Annotated[int, Field(ge=5 * _MEBIBYTE, le=512 * _MEBIBYTE)] = 8 * _MEBIBYTE
    """Bytes that a large file is sent in at a time. An upload keeps up to five times as many in
    memory."""

    connect_timeout: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Seconds that opening a connection to the store may take."""

    read_timeout: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Seconds that the store may keep silent."""

    call_timeout: Annotated[float, Field(gt=0, le=3600)] = 15.0
    """Seconds that one call may take in all, tries and pauses between them included. Who asks for
    something while the store hangs waits as long for the 503, and `removal_timeout` at most."""

    removal_timeout: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Seconds that a request waits for the store to remove what nobody needs any more. What is then
    still there, `app prune` removes."""

    max_attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """How often a call is tried before the request is answered with 503."""

    max_file_bytes: Annotated[int, Field(ge=1, le=5 * _GIBIBYTE)] = 100 * _MEBIBYTE
    """Largest file, in bytes."""

    quota_bytes: Annotated[int, Field(ge=1)] = _GIBIBYTE
    """Bytes that all files of one user may have together."""

    quota_files: Annotated[int, Field(ge=1)] = 1000
    """Number of files that one user may have."""

    media_types: Names = Field(
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
    """Types of files that are taken. What a file says of itself must agree with its content."""

    upload_seconds: Annotated[int, Field(ge=1, le=86_400)] = 3600
    """Seconds that an upload may take from its beginning to its end."""

    presign_seconds: Annotated[int, Field(ge=1, le=86_400)] = 900
    """Seconds for which a signed address, by which a client reaches the store, can be used."""

    @field_validator("endpoint_url", "public_endpoint_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is not None and not _ADDRESS.fullmatch(url):
            message = "must be 'https://host' or 'http://host:port', without a key in it"
            raise ValueError(message)
        return url

    @field_validator("bucket")
    @classmethod
    def _is_a_bucket(cls, name: str) -> str:
        if not _BUCKET.fullmatch(name):
            message = "must be 3 to 63 lower-case letters, digits, dots and hyphens"
            raise ValueError(message)
        return name

    @field_validator("directory")
    @classmethod
    def _is_a_folder(cls, name: str) -> str:
        if not _DIRECTORY.fullmatch(name):
            message = "must be letters, digits, '-', '_' and '.', with '/' between folders"
            raise ValueError(message)
        return name

    @field_validator("media_types")
    @classmethod
    def _are_media_types(cls, names: list[str]) -> list[str]:
        for name in names:
            if not _MEDIA_TYPE.fullmatch(name):
                message = f"{name!r} is no media type such as 'image/png'"
                raise ValueError(message)
        return names

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        faults: dict[Location, str] = {}
        if (self.access_key_id is None) != (self.secret_access_key is None):
            missing = "access_key_id" if self.access_key_id is None else "secret_access_key"
            faults[missing,] = "must be set: the id and the secret go together"
        if self.presign_seconds > self.upload_seconds:
            faults["presign_seconds",] = "can't be more than upload_seconds: it would end too late"
        if faults:
            raise refusal(type(self).__name__, faults)
        return self

    def weaknesses(self) -> Iterator[Fault]:
        """Yield why this store won't do in production."""
        if "endpoint_url" not in self.model_fields_set:
            sentence = "must be set in production; what is unset is the address of development"
            yield "endpoint_url", sentence
        secret = self.secret_access_key
        if secret is not None and (
            len(secret.get_secret_value()) < _SHORTEST_SECRET
            or secret.get_secret_value().lower() in _GUESSABLE
        ):
            sentence = f"is easy to guess; it needs {_SHORTEST_SECRET} random characters or more"
            yield "secret_access_key", sentence
