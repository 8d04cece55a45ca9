"""The settings of the database: PostgreSQL."""

import pytest
from pydantic import ValidationError

from app.core.config import DatabaseSettings
from app.core.config.database import DEVELOPMENT_URL


def url_of(text: str) -> str:
    return DatabaseSettings.model_validate({"url": text}).url.get_secret_value()


class TestUrl:
    @pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql", "postgres"])
    def test_is_rewritten_to_our_driver(self, scheme: str) -> None:
        assert url_of(f"{scheme}://u:p@db:5432/app") == "postgresql+asyncpg://u:p@db:5432/app"

    def test_gets_the_drivers_word_for_encryption(self) -> None:
        assert url_of("postgres://u:p@db/app?sslmode=require").endswith("/app?ssl=require")

    @pytest.mark.parametrize(
        "text", ["mysql://u:hidden@db/app", "postgresql+psycopg://db/app", "db"]
    )
    def test_must_name_our_driver(self, text: str) -> None:
        with pytest.raises(
            ValidationError, match=r"must start with postgresql\+asyncpg://"
        ) as refused:
            url_of(text)
        assert "hidden" not in str(refused.value)

    @pytest.mark.parametrize("rest", ["u:p@db", "u:p@db/", "u:p@db:port/app", "u:p@[db/app"])
    def test_must_name_a_database(self, rest: str) -> None:
        with pytest.raises(ValidationError, match="must have the form"):
            url_of(f"postgresql://{rest}")

    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            ("sslmode=require&channel_binding=require", "does not have: channel_binding"),
            ("connect_timeout=1&bogus", "does not have: bogus, connect_timeout"),
            ("sslmode=perhaps", "is none of allow"),
            ("prepared_statement_cache_size=few", "prepared_statement_cache_size that is no"),
        ],
    )
    def test_refuses_options_that_the_driver_does_not_have(self, query: str, reason: str) -> None:
        with pytest.raises(ValidationError, match=reason):
            url_of(f"postgresql://u:p@db/app?{query}")

    @pytest.mark.parametrize(
        "query", ["host=one:5432&host=two:5432", "prepared_statement_cache_size=0", "passfile=/p"]
    )
    def test_keeps_options_that_the_driver_has(self, query: str) -> None:
        assert url_of(f"postgresql://u:p@/app?{query}").endswith(query)

    @pytest.mark.parametrize("url", [DEVELOPMENT_URL, "postgresql://u:%50assword@db/app"])
    def test_is_weak_with_a_password_that_everybody_knows(self, url: str) -> None:
        assert list(DatabaseSettings.model_validate({"url": url}).weaknesses()) != []

    @pytest.mark.parametrize("user", ["u", "u:Xq81-strong"])
    def test_is_not_weak_otherwise(self, user: str) -> None:
        url = f"postgresql://{user}@db/app"
        assert list(DatabaseSettings.model_validate({"url": url}).weaknesses()) == []
