"""The settings of Redis."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.core.config.redis import RedisSettings


@pytest.mark.parametrize(
    "url", ["redis://:p@redis:6379/1", "rediss://u:p@redis/0", "unix:///run/redis.sock?db=0"]
)
def test_addresses_are_accepted(url: str) -> None:
    settings = RedisSettings.model_validate({"url": url})
    assert settings.url.get_secret_value() == url
    assert list(settings.check(production=True)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("url", url) for url in ("http://u:hidden@redis", "redis", "redis:hidden")),
        *(("prefix", prefix) for prefix in ("", "a:b", "*", "p" * 65)),
        *((name, 0) for name in ("timeout", "connect_timeout", "breaker_seconds")),
    ],
)
def test_values_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name) as refused:
        RedisSettings.model_validate({name: value})
    assert "hidden" not in str(refused.value)


def test_rules_are_checked() -> None:
    settings = RedisSettings(timeout=2, connect_timeout=1)
    assert list(settings.check(production=False)) == [
        ("connect_timeout", "can't be less than APP_REDIS__TIMEOUT")
    ]
    assert list(RedisSettings().check(production=True)) == [("url", "must be set in production")]
