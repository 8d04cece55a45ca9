"""The settings of the database: SQLite."""

import pytest
from pydantic import ValidationError

from app.core.config import DatabaseSettings
from app.core.config.database import DEVELOPMENT_URL


def group(url: str) -> DatabaseSettings:
    return DatabaseSettings.model_validate({"url": url})


class TestUrl:
    @pytest.mark.parametrize("scheme", ["sqlite+aiosqlite", "sqlite"])
    def test_uses_our_driver(self, scheme: str) -> None:
        url = group(f"{scheme}:////srv/data/app.db").url.get_secret_value()
        assert url == "sqlite+aiosqlite:////srv/data/app.db"

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            *(
                (url, r"must start with sqlite\+aiosqlite")
                for url in ("mysql://u:hidden@db/app", "sqlite:app.db", "app.db")
            ),
            *(
                (f"sqlite://{rest}", "must name a file")
                for rest in ("", "/", "/:memory:", "host/app.db")
            ),
            *(
                (f"sqlite://{rest}", "must be a path only")
                for rest in ("/app.db?mode=ro", "/app.db?timeout=long", "/a%00.db")
            ),
        ],
    )
    def test_is_refused(self, url: str, message: str) -> None:
        with pytest.raises(ValidationError, match=message) as refused:
            group(url)
        assert "hidden" not in str(refused.value)

    def test_is_not_the_development_database_in_production(self) -> None:
        assert len(list(group(DEVELOPMENT_URL).check(production=True))) == 1
        assert list(group(DEVELOPMENT_URL).check(production=False)) == []
        assert list(group("sqlite:////srv/data/app.db").check(production=True)) == []
