"""The settings of stored files."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from app.config import Settings, load_settings
from app.core.config import ConfigurationError
from app.core.config.storage import StorageSettings

STORE = "https://s3.example.com"
STRONG = "k3yth4tn0b0dyc0uldgu355"


class TestStorageSettings:
    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ({"endpoint_url": "s3.example.com"}, "must be 'https://host'"),
            ({"endpoint_url": "https://key:secret@s3.example.com"}, "without a key in it"),
            ({"public_endpoint_url": "ftp://s3.example.com"}, "must be 'https://host'"),
            ({"bucket": "My_Bucket"}, "3 to 63 lower-case letters"),
            ({"directory": "../up"}, "with '/' between folders"),
            ({"directory": "/files/"}, "with '/' between folders"),
            ({"media_types": ["images"]}, "no media type such as"),
            ({"access_key_id": "me"}, "the id and the secret go together"),
            ({"secret_access_key": STRONG}, "the id and the secret go together"),
            ({"presign_seconds": 7200}, "can't be more than upload_seconds"),
            ({"part_size": 1024}, "greater than or equal to 5242880"),
        ],
    )
    def test_refuse_what_can_not_be(self, given: dict[str, Any], sentence: str) -> None:
        with pytest.raises(ValidationError, match=sentence) as refused:
            StorageSettings(**given)
        assert STRONG not in str(refused.value)

    @pytest.mark.parametrize("url", ["https://s3.example.com", "http://127.0.0.1:9000"])
    def test_take_an_address(self, url: str) -> None:
        assert StorageSettings(endpoint_url=url).endpoint_url == url


class TestWeakness:
    @pytest.mark.parametrize("secret", ["minioadmin", "short"])
    def test_is_a_secret_that_can_be_guessed(self, secret: str) -> None:
        settings = StorageSettings.model_validate(
            {"endpoint_url": STORE, "access_key_id": "me", "secret_access_key": secret}
        )
        assert list(settings.weaknesses()) == [
            ("secret_access_key", "is easy to guess; it needs 16 random characters or more")
        ]

    @pytest.mark.parametrize(
        "given", [{}, {"access_key_id": "me", "secret_access_key": STRONG}], ids=["ambient", "own"]
    )
    def test_is_none_of_keys_that_nobody_guesses(self, given: dict[str, Any]) -> None:
        assert (
            list(StorageSettings.model_validate({"endpoint_url": STORE, **given}).weaknesses())
            == []
        )

    def test_is_the_address_of_development(self) -> None:
        assert [name for name, _ in StorageSettings().weaknesses()] == ["endpoint_url"]

    def test_is_all_there_is(self) -> None:
        settings = StorageSettings.model_validate(
            {"access_key_id": "me", "secret_access_key": "short"}
        )
        assert [name for name, _ in settings.weaknesses()] == ["endpoint_url", "secret_access_key"]

    @pytest.mark.parametrize(
        ("given", "refused"),
        [
            ({"access_key_id": "me", "secret_access_key": "short"}, {"SECRET_ACCESS_KEY"}),
            ({"access_key_id": "me"}, {"SECRET_ACCESS_KEY"}),
            ({"part_size": "1"}, {"PART_SIZE"}),
        ],
    )
    def test_is_not_that_of_another_setting(
        self, given: dict[str, str], refused: set[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("APP_ENVIRONMENT", "production")
        for name, value in {"endpoint_url": STORE, **given}.items():
            monkeypatch.setenv(f"APP_STORAGE__{name.upper()}", value)
        with pytest.raises(ConfigurationError) as refusal:
            load_settings()
        assert set(re.findall(r"APP_STORAGE__(\w+):", str(refusal.value))) == refused

    def test_is_refused_in_production(self) -> None:
        storage = {
            "endpoint_url": STORE,
            "access_key_id": "minioadmin",
            "secret_access_key": "minioadmin",
        }
        with pytest.raises(ValidationError, match="is easy to guess; it needs 16"):
            Settings.model_validate({"environment": "production", "storage": storage})
