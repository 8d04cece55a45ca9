"""Settings of Redis."""

import re
from collections.abc import Iterator
from typing import Annotated, Final
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from pydantic import AfterValidator, Field, SecretStr

from app.core.config.base import SettingsGroup, network_of_host

KeyPrefix = Annotated[str, Field(pattern=r"^[^:*?\[\]\\]{1,64}$")]


# Options after the `?` of the address, and their values. Others make the client fail, or replace
# the host and the time limits of these settings.
_OPTIONS: Final = {"client_name": r".+", "db": r"\d+"}
_TLS_OPTIONS: Final = {
    "ssl_ca_certs": r".+",
    "ssl_cert_reqs": r"none|optional|required",
    "ssl_certfile": r".+",
    "ssl_check_hostname": r"true|false",
    "ssl_keyfile": r".+",
}


def _check_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value().strip()
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss:// or unix://")
    try:
        address = urlsplit(text)
        is_complete = address.port != 0 and (address.scheme != "unix" or address.path != "")
    except ValueError:
        address, is_complete = urlsplit(""), False
    if not is_complete:
        raise ValueError("must have the form redis://user:password@host:port/number")
    # The client ignores a path that is no number, and uses database 0.
    if address.scheme != "unix" and not (address.path.removeprefix("/") or "0").isdecimal():
        raise ValueError("must name the database by its number")
    known = _OPTIONS | _TLS_OPTIONS if address.scheme == "rediss" else _OPTIONS
    options = parse_qs(address.query, keep_blank_values=True)
    for name, values in sorted(options.items()):
        if name not in known:
            raise ValueError(f"can't have the option {name}; known: {', '.join(known)}")
        if len(values) > 1 or not re.fullmatch(known[name], values[0]):
            raise ValueError(f"has an invalid value of the option {name}")
    # The client's default accepts a certificate of any host.
    if address.scheme == "rediss" and options.get("ssl_cert_reqs") != ["none"]:
        options.setdefault("ssl_check_hostname", ["true"])
        text = urlunsplit(address._replace(query=urlencode(options, doseq=True)))
    return SecretStr(text)


class RedisSettings(SettingsGroup):
    """Redis, its time limits and circuit breaker."""

    url: Annotated[SecretStr, AfterValidator(_check_url)] = SecretStr("redis://127.0.0.1:6379/0")
    """Address: `redis://`, `rediss://` for TLS, or `unix://` and the path of a socket, with user
    name and password if needed. Required in production."""

    prefix: KeyPrefix = "{{ cookiecutter.project_slug }}"
    """Prefix of all keys and channels, so that several services can share a server. No `:` or
    wildcards."""

    timeout: Annotated[float, Field(gt=0, le=10)] = 0.25
    """Seconds that one call may take. A request makes about three."""

    connect_timeout: Annotated[float, Field(gt=0, le=30)] = 1.0
    """Seconds that opening a connection may take."""

    pool_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Maximum connections of one server process. Unset: APP_SERVER__CONCURRENCY."""

    breaker_failures: Annotated[int, Field(ge=1, le=1000)] = 5
    """Consecutive failures that open the circuit breaker: requests then go on without Redis."""

    breaker_seconds: Annotated[float, Field(gt=0, le=300)] = 2.0
    """Seconds until a call probes Redis again."""

    def check(self, *, production: bool) -> Iterator[tuple[str, str]]:
        """Require an address in production, a safe one, and time limits that agree."""
        if self.timeout > self.connect_timeout:
            yield "connect_timeout", "can't be less than APP_REDIS__TIMEOUT"
        if production and "url" not in self.model_fields_set:
            yield "url", "must be set in production"
        address = urlsplit(self.url.get_secret_value())
        if production and network_of_host(address.hostname) == "public":
            if not self._has_tls:
                yield "url", "must start with rediss:// and verify: the host is public"
            elif not address.password:
                yield "url", "must have a password: the host is public"

    def risks(self) -> Iterator[tuple[str, str]]:
        """Warn about unencrypted traffic."""
        host = urlsplit(self.url.get_secret_value()).hostname
        if network_of_host(host) == "private" and not self._has_tls:
            yield "url", "has no TLS: commands and data are sent unencrypted"

    def open_files(self, concurrency: int) -> int:
        """Return the size of the pool."""
        return self.pool_size or concurrency

    @property
    def _has_tls(self) -> bool:
        address = urlsplit(self.url.get_secret_value())
        options = parse_qs(address.query)
        verifies = options.get("ssl_cert_reqs", ["required"]) == ["required"]
        return verifies and options.get("ssl_check_hostname") == ["true"]
