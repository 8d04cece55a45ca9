"""The settings of the database: SQLite."""

import pytest
from pydantic import ValidationError

from app.core.config import DatabaseSettings
from app.core.config.database import DEVELOPMENT_URL


def url_of(text: str) -> str:
    return DatabaseSettings.model_validate({"url": text}).url.get_secret_value()


class TestUrl:
    @pytest.mark.parametrize("scheme", ["sqlite+aiosqlite", "sqlite"])
    def test_is_rewritten_to_our_driver(self, scheme: str) -> None:
        assert url_of(f"{scheme}:////srv/data/app.db") == "sqlite+aiosqlite:////srv/data/app.db"

    @pytest.mark.parametrize("text", ["mysql://u:hidden@db/app", "sqlite:app.db", "app.db"])
    def test_must_name_our_driver(self, text: str) -> None:
        with pytest.raises(ValidationError, match=r"must start with sqlite\+aiosqlite") as refused:
            url_of(text)
        assert "hidden" not in str(refused.value)

    @pytest.mark.parametrize("rest", ["", "/", "/:memory:", "host/app.db"])
    def test_must_name_a_file(self, rest: str) -> None:
        with pytest.raises(ValidationError, match="must name a file"):
            url_of(f"sqlite://{rest}")

    @pytest.mark.parametrize("rest", ["/app.db?mode=ro", "/app.db?timeout=long", "/a%00.db"])
    def test_must_name_a_file_and_nothing_else(self, rest: str) -> None:
        with pytest.raises(ValidationError, match="a path and nothing else"):
            url_of(f"sqlite://{rest}")

    def test_is_weak_when_it_is_that_of_development(self) -> None:
        assert list(DatabaseSettings.model_validate({"url": DEVELOPMENT_URL}).weaknesses()) != []

    def test_is_not_weak_otherwise(self) -> None:
        url = "sqlite:////srv/data/app.db"
        assert list(DatabaseSettings.model_validate({"url": url}).weaknesses()) == []
