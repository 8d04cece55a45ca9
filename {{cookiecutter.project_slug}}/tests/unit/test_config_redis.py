"""The settings of Redis."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.config import Settings
from app.core.config.redis import RedisSettings


def refused(**values: Any) -> str:
    with pytest.raises(ValidationError) as refusal:
        RedisSettings.model_validate(values)
    return str(refusal.value)


class TestUrl:
    @pytest.mark.parametrize(
        "url", ["redis://:p@redis:6379/1", "rediss://u:p@redis/0", "unix:///run/redis.sock?db=0"]
    )
    def test_is_one_that_clients_know(self, url: str) -> None:
        assert RedisSettings.model_validate({"url": url}).url.get_secret_value() == url

    @pytest.mark.parametrize("url", ["http://u:hidden@redis", "redis", "redis:hidden"])
    def test_has_to_be(self, url: str) -> None:
        text = refused(url=url)
        assert "must start with one of redis://, rediss://, unix://" in text
        assert "hidden" not in text


class TestWeakness:
    def test_is_the_address_of_development(self) -> None:
        assert [name for name, _ in RedisSettings().weaknesses()] == ["url"]

    def test_is_refused_in_production(self) -> None:
        with pytest.raises(ValidationError, match=r"redis\.url"):
            Settings(environment="production")

    def test_is_none_of_an_address_that_was_given(self) -> None:
        assert list(RedisSettings.model_validate({"url": "redis://redis/0"}).weaknesses()) == []


class TestPrefix:
    @pytest.mark.parametrize("prefix", ["", "a:b", "*", "p" * 65])
    def test_names_one_service(self, prefix: str) -> None:
        assert "prefix" in refused(prefix=prefix)


class TestTimes:
    def test_let_a_connection_take_as_long_as_a_call(self) -> None:
        assert "can't be less than APP_REDIS__TIMEOUT" in refused(timeout=2, connect_timeout=1)

    @pytest.mark.parametrize("name", ["timeout", "connect_timeout", "breaker_seconds"])
    def test_are_there_at_all(self, name: str) -> None:
        assert name in refused(**{name: 0})
