"""The settings of file storage."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.config import Settings
from app.core.config import ConfigurationError
from app.core.config.storage import StorageSettings

STORE = "https://s3.example.com"
STRONG = "k3yth4tn0b0dyc0uldgu355"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("endpoint_url", "s3.example.com", "must be 'https://host'"),
        ("endpoint_url", f"https://key:{STRONG}@s3.example.com", "without a key in it"),
        *(
            ("endpoint_url", f"https://{host}", "must be 'https://host'")
            for host in ("[::1", "s3:port", "s3:0", "s3:99999", "s 3")
        ),
        ("public_endpoint_url", "ftp://s3.example.com", "must be 'https://host'"),
        ("bucket", "My_Bucket", "3 to 63 lower-case letters"),
        ("directory", "../up", "with '/' between folders"),
        ("directory", "/files/", "with '/' between folders"),
        ("media_types", ["images"], "not a media type such as"),
        ("part_size", 1024, "greater than or equal to 5242880"),
    ],
)
def test_values_are_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        StorageSettings.model_validate({name: value})
    assert STRONG not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "production", "faults"),
    [
        ({}, False, []),
        ({"access_key_id": "me"}, False, ["secret_access_key"]),
        ({"secret_access_key": STRONG}, False, ["access_key_id"]),
        ({"presign_seconds": 3600, "upload_seconds": 3599}, False, ["presign_seconds"]),
        ({}, True, ["endpoint_url"]),
        ({"endpoint_url": STORE}, True, []),
        ({"endpoint_url": "http://s3.example.com"}, True, ["endpoint_url"]),
        (
            {"endpoint_url": "http://minio:9000", "public_endpoint_url": "http://s3.example.com"},
            True,
            ["public_endpoint_url"],
        ),
        ({"endpoint_url": STORE, "access_key_id": "me", "secret_access_key": STRONG}, True, []),
        *(
            (
                {"access_key_id": "me", "secret_access_key": secret},
                True,
                ["endpoint_url", "secret_access_key"],
            )
            for secret in ("minioadmin", "short", "MinioAdmin")
        ),
    ],
)
def test_rules_are_checked(given: dict[str, Any], production: bool, faults: list[str]) -> None:
    settings = StorageSettings.model_validate(given)
    assert [name for name, _ in settings.check(production=production)] == faults


def test_warns_of_a_private_store_without_tls() -> None:
    settings = StorageSettings(endpoint_url="http://minio:9000", public_endpoint_url=STORE)
    assert [name for name, _ in settings.risks()] == ["endpoint_url"]


def test_production_refuses_a_guessable_secret() -> None:
    storage = {
        "endpoint_url": STORE,
        "access_key_id": "minioadmin",
        "secret_access_key": "minioadmin",
    }
    with pytest.raises(ConfigurationError, match="APP_STORAGE__SECRET_ACCESS_KEY: must have 16"):
        Settings.model_validate({"environment": "production", "storage": storage})
