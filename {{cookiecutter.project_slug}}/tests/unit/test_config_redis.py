"""The settings of Redis."""

from typing import Any

import pytest
from pydantic import ValidationError
from redis.asyncio import ConnectionPool, SSLConnection

from app.core.config.redis import RedisSettings


@pytest.mark.parametrize(
    "url",
    [
        "redis://:p@redis:6379/1",
        "redis://redis/0?client_name=app",
        "rediss://u:p@redis/0?ssl_cert_reqs=none",
        "rediss://u:p@redis/0?ssl_ca_certs=%2Fca.pem&ssl_check_hostname=true",
        "unix:///run/redis.sock?db=0",
    ],
)
def test_addresses_are_accepted(url: str) -> None:
    settings = RedisSettings.model_validate({"url": url})
    assert settings.url.get_secret_value() == url
    assert list(settings.check(production=True)) == []


@pytest.mark.parametrize(
    ("options", "checked"),
    [("", True), ("?ssl_cert_reqs=optional", True), ("?ssl_check_hostname=false", False)],
)
def test_certificates_are_those_of_the_host(options: str, checked: bool) -> None:
    settings = RedisSettings.model_validate({"url": f"rediss://:p@redis/0{options}"})
    given = ConnectionPool.from_url(settings.url.get_secret_value()).connection_kwargs
    assert SSLConnection(**given).check_hostname is checked


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("url", url) for url in ("http://u:hidden@redis", "redis", "redis:hidden")),
        *(
            ("url", f"redis://:hidden@redis{rest}")
            for rest in (":port/0", ":99999", ":0", ":6379/cache", "/0?db=cache")
        ),
        # The client would take these: another host, no time limit, or an error at each call.
        *(
            ("url", f"redis://:hidden@{rest}")
            for rest in (
                "?host=redis.example.com",
                "redis?socket_timeout=0",
                "redis?ssl_certfile=c",
            )
        ),
        *(
            ("url", f"rediss://:hidden@redis?ssl_{option}")
            for option in ("cert_reqs=few", "cert_reqs=required&ssl_cert_reqs=none", "certfile=")
        ),
        ("url", "unix://"),
        *(("prefix", prefix) for prefix in ("", "a:b", "*", "p" * 65)),
        *((name, 0) for name in ("timeout", "connect_timeout", "breaker_seconds")),
    ],
)
def test_values_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name) as refused:
        RedisSettings.model_validate({name: value})
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "fault", "is_risky"),
    [
        ("redis://:p@redis.example.com/0", "rediss://", False),
        ("rediss://:p@redis.example.com/0?ssl_cert_reqs=none", "rediss://", False),
        ("rediss://:p@redis.example.com/0?ssl_check_hostname=false", "rediss://", False),
        ("rediss://redis.example.com/0", "password", False),
        ("rediss://:p@redis.example.com/0", "", False),
        ("redis://:p@203.1.113.1/0", "rediss://", False),
        ("redis://10.0.0.1/0", "", True),
        ("redis://redis.apps.svc.cluster.local", "", True),
        ("redis://[::1]/0", "", False),
        ("unix:///run/redis.sock", "", False),
    ],
)
def test_production_wants_public_addresses_safe(url: str, fault: str, is_risky: bool) -> None:
    settings = RedisSettings.model_validate({"url": url})
    faults = [message for _, message in settings.check(production=True)]
    assert [fault in message for message in faults] == ([True] if fault else [])
    assert [name for name, _ in settings.risks()] == (["url"] if is_risky else [])
    assert list(settings.check(production=False)) == []


def test_rules_are_checked() -> None:
    settings = RedisSettings(timeout=2, connect_timeout=1)
    assert list(settings.check(production=False)) == [
        ("connect_timeout", "can't be less than APP_REDIS__TIMEOUT")
    ]
    assert list(RedisSettings().check(production=True)) == [("url", "must be set in production")]
