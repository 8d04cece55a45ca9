"""The settings of the database: PostgreSQL."""

import pytest
from pydantic import ValidationError

from app.core.config import DatabaseSettings
from app.core.config.database import DEVELOPMENT_URL


def group(url: str) -> DatabaseSettings:
    return DatabaseSettings.model_validate({"url": url})


class TestUrl:
    @pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql", "postgres"])
    def test_uses_our_driver_and_keeps_its_options(self, scheme: str) -> None:
        for given, used in (
            ("u:p@db:5432/app", "u:p@db:5432/app"),
            ("u:p@db/app?sslmode=require", "u:p@db/app?ssl=require"),
            ("u:p@/app?host=one:1&host=two:2", "u:p@/app?host=one:1&host=two:2"),
            ("u:p@/app?prepared_statement_cache_size=0&passfile=/p",) * 2,
        ):
            url = group(f"{scheme}://{given}").url.get_secret_value()
            assert url == f"postgresql+asyncpg://{used}"

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            *(
                (url, r"must start with postgresql\+asyncpg://")
                for url in ("mysql://u:hidden@db/app", "postgresql+psycopg://db/app", "db")
            ),
            *(
                (f"postgresql://u:hidden@{rest}", "must have the form")
                for rest in ("db", "db/", "db:port/app", "[db/app")
            ),
            *(
                (f"postgresql://u:hidden@db/app?{query}", message)
                for query, message in (
                    ("channel_binding=require", "does not support: channel_binding"),
                    ("connect_timeout=1&bogus", "does not support: bogus, connect_timeout"),
                    ("sslmode=perhaps", "sslmode must be one of allow"),
                    ("port=99999", "port must be a number from 1"),
                    ("prepared_statement_cache_size=few", "cache_size must be a number"),
                )
            ),
        ],
    )
    def test_is_refused(self, url: str, message: str) -> None:
        with pytest.raises(ValidationError, match=message) as refused:
            group(url)
        assert "hidden" not in str(refused.value)

    @pytest.mark.parametrize(
        ("url", "faults"),
        [
            (DEVELOPMENT_URL, 1),
            ("postgresql://u:%50assword@db/app", 1),
            ("postgresql://u@db/app", 0),
            ("postgresql://u:Xq81-strong@db/app", 0),
        ],
    )
    def test_has_no_guessable_password_in_production(self, url: str, faults: int) -> None:
        assert len(list(group(url).check(production=True))) == faults
        assert list(group(url).check(production=False)) == []

    @pytest.mark.parametrize(
        ("url", "fault", "is_risky"),
        [
            ("u:Xq81@db.example.com/app", "sslmode", False),
            ("u:Xq81@db.example.com/app?sslmode=prefer", "sslmode", False),
            ("u:Xq81@db.example.com/app?sslmode=require", "", False),
            ("u@db.example.com/app?sslmode=verify-full", "password", False),
            ("u@db.example.com/app?sslmode=verify-full&passfile=/p", "", False),
            ("u:Xq81@/app?host=db:5432&host=198.51.99.1:5432", "sslmode", True),
            ("u:Xq81@10.0.0.1/app", "", True),
            ("u:Xq81@134744072/app", "sslmode", False),
            ("u:Xq81@0x08080808/app", "sslmode", False),
            ("u:Xq81@0x0a000001/app", "", True),
            ("u@/app?host=/run/postgresql", "", False),
            ("u:Xq81@[::1]:5432/app", "", False),
        ],
    )
    def test_is_safe_in_production_if_it_is_public(
        self, url: str, fault: str, is_risky: bool
    ) -> None:
        settings = group(f"postgresql://{url}")
        faults = [message for _, message in settings.check(production=True)]
        assert [fault in message for message in faults] == ([True] if fault else [])
        assert [name for name, _ in settings.risks()] == (["url"] if is_risky else [])
