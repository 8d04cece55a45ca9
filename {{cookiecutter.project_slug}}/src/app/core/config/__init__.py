"""Settings groups of the infrastructure.

`app.config.Settings` has a field for each of them. Variables are `APP_<GROUP>__<NAME>`:
`APP_SERVER__PORT` is `settings.server.port`. No other package reads the environment (rule APP03).
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, EmailStr, Field, SecretStr

from app.about import DISTRIBUTION
from app.core.config.base import ConfigurationError as ConfigurationError
from app.core.config.base import ListOf, SettingsGroup, matching, network_of_host
from app.core.config.database import DatabaseSettings as DatabaseSettings
from app.core.config.jobs import JobSettings as JobSettings

_KIBIBYTE: Final = 1024
_FILES_OF_A_PROCESS: Final = 64
_OWASP_MINIMUM_KIB: Final = {1: 47_104, 2: 19_456, 3: 12_288, 4: 9_216, 5: 7_168}
"""Minimum memory by number of passes (OWASP Password Storage Cheat Sheet, Argon2id)."""


class ServerSettings(SettingsGroup):
    """Address and capacity of the server processes."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on. Containers need `0.0.0.0`."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """TCP port to listen on; 0 picks a free one."""

    workers: Annotated[int, Field(ge=1, le=256)] = 2
    """Number of server processes."""

    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Requests that one process is expected to handle at once. The database pool has as many
    connections; further requests wait for one."""

    graceful_timeout: Annotated[int, Field(ge=1, le=600)] = 30
    """Seconds that requests in flight have to finish on shutdown."""

    keep_alive: Annotated[int, Field(ge=1, le=600)] = 5
    """Seconds to keep idle connections open. Use a shorter time in the load balancer in front."""

    def open_files(self, concurrency: int) -> int:
        """Return a connection per request, and some files of the process itself."""
        return concurrency + _FILES_OF_A_PROCESS


def _check_network(network: str) -> str:
    try:
        if network != "*":
            ip_network(network)
    except ValueError as error:
        message = f"{network!r} is not an address or a network such as '10.0.0.0/8'"
        raise ValueError(message) from error
    return network


Origin = Annotated[
    str,
    matching(
        r"\*|(?i:https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?)",
        "{!r} is not an origin: write 'scheme://host' or 'scheme://host:port', without a path or"
        " trailing slash",
    ),
]
Host = Annotated[
    str,
    matching(
        r"\*|(?i:(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[?[0-9a-f:]+\]?)",
        "{!r} is not a host name: write 'api.example.com' or '*.example.com'",
    ),
]
Network = Annotated[str, AfterValidator(_check_network)]

_SHORTEST_V4_PREFIX: Final = 8
_SHORTEST_V6_PREFIX: Final = 16
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_UNROUTED: Final = (IPv6Network("fc00::/7"), IPv6Network("fe80::/10"))


def _include_the_internet(networks: Iterable[str]) -> bool:
    """Return whether networks, alone or together, are larger than any operator's."""
    v4: list[IPv4Network] = []
    v6: list[IPv6Network] = []
    for network in map(ip_network, networks):
        if isinstance(network, IPv4Network):
            v4.append(network)
        elif network.subnet_of(_MAPPED):
            start = int(network.network_address) & 0xFFFF_FFFF
            v4.append(IPv4Network((start, network.prefixlen - _MAPPED.prefixlen)))
        elif not any(network.subnet_of(unrouted) for unrouted in _UNROUTED):
            v6.append(network)
    return any(each.prefixlen < _SHORTEST_V4_PREFIX for each in collapse_addresses(v4)) or any(
        each.prefixlen < _SHORTEST_V6_PREFIX for each in collapse_addresses(v6)
    )


class HttpSettings(SettingsGroup):
    """Accepted clients, origins and hosts, and limits of requests."""

    cors_origins: ListOf[Origin] | None = None
    """Origins whose pages may call the service, such as `https://www.example.com`. `*` allows any;
    it is refused in production, and always together with credentials. Unset: in development
    `http://localhost:3000` and `http://localhost:5173`, otherwise none."""

    cors_allow_credentials: bool = False
    """Let browsers send cookies. Bearer tokens don't need it."""

    trusted_hosts: ListOf[Host] = Field(default=["*"], min_length=1)
    """Accepted values of `Host`, such as `api.example.com` or `*.example.com`. Production refuses
    `*`."""

    forwarded_allow_ips: ListOf[Network] = Field(default=["127.0.0.1"])
    """Addresses or networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted,
    such as `10.0.0.0/8`. Production refuses `*` and networks as large: clients could forge their
    address."""

    max_body_bytes: Annotated[int, Field(ge=_KIBIBYTE, le=64 * _KIBIBYTE**2)] = _KIBIBYTE**2
    """Maximum size of a request body, in bytes, which is held in memory."""

    min_bytes_per_second: Annotated[int, Field(ge=64)] = 2048
    """Minimum speed at which a client must send a request body and read a response. Slower ones are
    disconnected."""

    grace_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Seconds that a client may lag behind that speed, and be connected without a request."""

    docs_enabled: bool | None = None
    """Serve `/docs` and the OpenAPI document. Unset: everywhere but in production."""

    hsts_seconds: Annotated[int, Field(ge=0, le=63_072_000)] = 31_536_000
    """Lifetime of `Strict-Transport-Security` in production (RFC 6797), in seconds; 0 omits it."""

    def check(self, *, production: bool) -> Iterator[tuple[str, str]]:
        """Refuse wildcards in production, and any origin with credentials."""
        origins = self.cors_origins or []
        if self.cors_allow_credentials and "*" in origins:
            yield "cors_origins", "can't be '*' with credentials: any page could act for its user"
        wildcards = {
            "cors_origins": origins,
            "trusted_hosts": self.trusted_hosts,
            "forwarded_allow_ips": self.forwarded_allow_ips,
        }
        for name, values in wildcards.items():
            if production and "*" in values:
                yield name, "can't be '*' in production"
        trusted = self.forwarded_allow_ips
        if production and "*" not in trusted and _include_the_internet(trusted):
            yield "forwarded_allow_ips", "can't include the internet in production"


class AuthSettings(SettingsGroup):
    """Signing keys and lifetimes of tokens."""

    signing_keys: SecretStr | None = None
    """Private keys as a JWK Set (RFC 7517) in JSON: the first one signs, all of them verify. Create
    it with `app keys generate`. Unset: development creates a key, production refuses to start."""

    signing_keys_file: Path | None = None
    """File with the keys, e.g. a mounted secret, instead of `APP_AUTH__SIGNING_KEYS`."""

    issuer: Annotated[str, Field(min_length=1, max_length=255)] = DISTRIBUTION
    """Issuer of the tokens (`iss`)."""

    audience: Annotated[str, Field(min_length=1, max_length=255)] = DISTRIBUTION
    """Audience of the tokens (`aud`)."""

    access_token_minutes: Annotated[int, Field(ge=1, le=60)] = 15
    """Lifetime of an access token, in minutes."""

    refresh_token_days: Annotated[int, Field(ge=1, le=365)] = 14
    """Days after which an unused session ends."""

    session_days: Annotated[int, Field(ge=1, le=365)] = 30
    """Days after which a session ends, however often it is used (SP 800-63B-4)."""

    step_up_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    """Seconds after a login or step-up in which credentials, roles and accounts may be changed
    (RFC 9470)."""

    api_key_max_days: Annotated[int, Field(ge=1, le=3650)] = 365
    """Maximum lifetime of an API key, in days. Keys last for 90 days unless asked otherwise."""

    def check(self, *, production: bool) -> Iterator[tuple[str, str]]:
        """Require one source of keys in production, at most one elsewhere; check lifetimes."""
        if self.refresh_token_days > self.session_days:
            yield "refresh_token_days", "can't be more than APP_AUTH__SESSION_DAYS"
        if self.signing_keys and self.signing_keys_file:
            yield "signing_keys_file", "can't be set together with APP_AUTH__SIGNING_KEYS"
        elif production and (path := self.signing_keys_file):
            if _mode(path) & (stat.S_IWGRP | stat.S_IWOTH):
                yield "signing_keys_file", "can be written by others; run `chmod 600` on it"
            elif _mode(path.parent) & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
                yield "signing_keys_file", "can be replaced by others: its directory is writable"
        if production and not (self.signing_keys or self.signing_keys_file):
            sentence = "must be set in production, or APP_AUTH__SIGNING_KEYS_FILE"
            yield "signing_keys", f"{sentence}; create keys with `app keys generate`"

    def risks(self) -> Iterator[tuple[str, str]]:
        """Warn about keys that others can read."""
        if self.signing_keys_file and _mode(self.signing_keys_file) & stat.S_IROTH:
            yield "signing_keys_file", "can be read by others"


def _mode(path: Path) -> int:
    """Return the permissions of a file; 0 if it is missing, which is reported elsewhere."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


class PasswordSettings(SettingsGroup):
    """Rules for new passwords, and cost and concurrency of hashing (Argon2id, RFC 9106)."""

    min_length: Annotated[int, Field(ge=8, le=64)] = 8
    """Minimum length of a new password. NIST recommends 15 where there is no second factor
    (SP 800-63B-4)."""

    composition_rules: bool = False
    """Require an upper-case letter, a lower-case letter and a digit. NIST and OWASP advise
    against it."""

    time_cost: Annotated[int, Field(ge=1, le=100)] = 2
    """Number of passes over the memory."""

    memory_kib: Annotated[int, Field(ge=8, le=4_194_304)] = 19_456
    """Memory of one hash, in KiB. Production refuses less than OWASP's minimum."""

    max_concurrent: Annotated[int, Field(ge=1, le=256)] | None = None
    """Hashes that a server process computes at once. Unset: one less than the number of processors,
    at least one."""

    max_waiting: Annotated[int, Field(ge=0, le=100_000)] = 64
    """Logins that may wait for their hash; further ones are answered with 503."""

    @property
    def concurrency(self) -> int:
        """`max_concurrent`, or the number of processors less one for the event loop."""
        known = hasattr(os, "sched_getaffinity")
        processors = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
        return self.max_concurrent or max(1, processors - 1)

    def check(self, *, production: bool) -> Iterator[tuple[str, str]]:
        """Require OWASP's minimum cost in production."""
        minimum = _OWASP_MINIMUM_KIB[min(self.time_cost, max(_OWASP_MINIMUM_KIB))]
        if production and self.memory_kib < minimum:
            yield (
                "memory_kib",
                f"must be at least {minimum} for {self.time_cost} passes (OWASP's minimum)",
            )


_RATE: Final = re.compile(
    r"\s*(\d{1,12})\s*(?:/|per)\s*(\d{1,6})?\s*(second|minute|hour|day|month|year)s?\s*",
    re.ASCII | re.IGNORECASE,
)
_DAY: Final = 86_400
_SECONDS: Final = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": _DAY,
    "month": 30 * _DAY,
    "year": 360 * _DAY,
}


def rate_of(text: str) -> tuple[int, int]:
    """Return the requests and the seconds of a rate.

    Raises:
        ValueError: It is not a rate.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a rate such as '30/minute'")
    number, times, unit = match.groups()
    if int(number) == 0:
        raise ValueError(f"{text!r} refuses every request")
    return int(number), max(1, int(times or 1)) * _SECONDS[unit.lower()]


def _check_rate(text: str) -> str:
    rate_of(text)
    return text


Rate = Annotated[str, AfterValidator(_check_rate)]
"""Requests per time: `30/minute`, `1000/hour`, `5 per 10 seconds`."""


_MAX_PER_MINUTE: Final = {
    "auth_address": 600,
    "general_address": 60_000,
    "general_account": 60_000,
}


class RateLimitSettings(SettingsGroup):
    """Rate limits by address and by account."""

    enabled: bool = True
    """Limit requests."""

    allow_ineffective: bool = False
    """Let production run without effective limits, e.g. behind a gateway that has its own."""

    auth_address: Rate = "30/minute"
    """Requests per address under `/auth`, and requests that set a password, change a profile or
    create an API key. A /48 of IPv6 may send four times as many."""

    general_address: Rate = "1200/minute"
    """Requests per address under `/api`."""

    general_account: Rate = "600/minute"
    """Requests per account under `/api`."""

    concurrent_requests: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Requests of an account that a server process handles at once. Unset: half of its database
    connections."""

    concurrent_transfers: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Transfers of an account, such as exports, that a server process handles at once."""

    def check(self, *, production: bool) -> Iterator[tuple[str, str]]:
        """Refuse ineffective limits in production, unless they are intended."""
        if not production or self.allow_ineffective:
            return
        intended = "; if that is intended, set APP_RATE_LIMITS__ALLOW_INEFFECTIVE"
        if not self.enabled:
            yield "enabled", f"can't be off in production{intended}"
        for name, most in _MAX_PER_MINUTE.items():
            number, seconds = rate_of(getattr(self, name))
            if number * max(1, 60 / seconds) > most:
                yield name, f"allows more than {most} requests per minute{intended}"


Level = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]


class LoggingSettings(SettingsGroup):
    """Level and format of the log."""

    level: Level = "INFO"
    """Minimum level. Libraries never log below INFO: some log values at DEBUG."""

    format: Literal["json", "console"] | None = None
    """`json` for machines, `console` for people. Unset: `json` in production, else `console`."""


MailHost = Annotated[
    str,
    matching(
        r"[^\s/:@]+|[0-9a-fA-F:.]+",
        "must be a host name without scheme, user or port; the port is APP_MAIL__PORT",
    ),
]


class MailSettings(SettingsGroup):
    """Delivery of mail."""

    backend: Literal["console", "smtp"] = "console"
    """`smtp` sends mail; `console` logs recipient and subject and sends nothing; in development it
    writes mails to `.dev/mail`. Production accepts both: the service works without mail."""

    host: MailHost | None = None
    """Host name of the SMTP server; required by `smtp`."""

    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    """Port of the SMTP server: 587 for STARTTLS, 465 for implicit TLS."""

    username: str | None = None
    """Username for the SMTP server. Unset: no authentication."""

    password: SecretStr | None = None
    """Password for the SMTP server."""

    starttls: bool = True
    """Require STARTTLS (RFC 3207)."""

    tls: bool = False
    """Use implicit TLS (RFC 8314) instead of STARTTLS."""

    sender: EmailStr | None = None
    """Sender address; required by `smtp`."""

    timeout: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Seconds that sending one mail may take."""

    def check(self, *, production: bool) -> Iterator[tuple[str, str]]:
        """Require complete, encrypted access to the SMTP server."""
        if self.backend == "smtp":
            for name in ("host", "sender"):
                if getattr(self, name) is None:
                    yield name, "must be set if APP_MAIL__BACKEND is smtp"
        if (self.username is None) != (self.password is None):
            missing = "username" if self.username is None else "password"
            yield missing, "must be set: user name and password go together"
        if self.username is not None and not (self.starttls or self.tls):
            yield "starttls", "can't be off: the password would be sent unencrypted"
        elif production and self._network == "public":
            if not (self.starttls or self.tls):
                yield "starttls", "can't be off: the host is public"
            elif self.username is None:
                yield "username", "must be set, with a password: the host is public"

    def risks(self) -> Iterator[tuple[str, str]]:
        """Warn about unencrypted traffic."""
        if self._network == "private" and not (self.starttls or self.tls):
            yield "starttls", "is off: mail is sent unencrypted"

    @property
    def _network(self) -> str | None:
        return network_of_host(self.host) if self.backend == "smtp" and self.host else None


class HealthSettings(SettingsGroup):
    """Health endpoints."""

    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Seconds that each dependency has to answer `/ready`."""

    cache_seconds: Annotated[float, Field(ge=0, le=60)] = 1.0
    """Seconds for which a process repeats the last answer of `/ready`."""


def _check_token(token: SecretStr) -> SecretStr:
    # Other characters can't be sent in a header, or are cut off.
    if not re.fullmatch(r"[!-~]{16,}", token.get_secret_value()):
        raise ValueError("must have 16 visible ASCII characters or more, and no spaces")
    return token


class MetricsSettings(SettingsGroup):
    """Prometheus metrics."""

    enabled: bool = False
    """Collect metrics, and serve `/metrics`."""

    token: Annotated[SecretStr, AfterValidator(_check_token)] | None = None
    """Token that scrapers send as `Authorization: Bearer …`. Unset: `/metrics` is public."""

    port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """TCP port that serves `/metrics` of all processes, without a token, instead of the public
    port. Unset: none."""

    host: str = "127.0.0.1"
    """Address of that port. Let only scrapers reach it."""

    directory: Path | None = None
    """Directory in which the processes of a server share their metrics; `app serve` sets it."""

    def risks(self) -> Iterator[tuple[str, str]]:
        """Warn about public metrics."""
        if self.enabled and self.token is None and self.port is None:
            yield "token", "is not set: every client may read /metrics"


class IdempotencySettings(SettingsGroup):
    """Requests with an `Idempotency-Key`."""

    answer_seconds: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400
    """Seconds to keep a response for repeated requests."""

    keys_per_user: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    """Stored responses per user; beyond them a new key gets a 429."""


class ThrottleSettings(SettingsGroup):
    """Delay of logins after failed attempts; it doubles with each failure."""

    account_failures: Annotated[int, Field(ge=1, le=100)] = 5
    """Failed logins per account and network, or known device, before delays start."""

    address_failures: Annotated[int, Field(ge=1, le=1000)] = 20
    """Failed logins per network before delays start. A network is an IPv4 address or a /64 of IPv6;
    a /48 has four times the limits of one."""

    daily_failures: Annotated[int, Field(ge=1, le=100)] = 100
    """Failed logins per account and day from all unknown networks together; then these wait for the
    end of the day. NIST allows 100 (SP 800-63B-4)."""

    base_seconds: Annotated[int, Field(ge=1, le=3600)] = 1
    """First delay, in seconds."""

    max_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3600
    """Maximum delay, in seconds."""

    window_seconds: Annotated[int, Field(ge=60, le=604_800)] = 3600
    """Seconds after which failures of a network are forgotten; those of an account are forgotten
    after a day."""

    def check(self, *, production: bool) -> Iterator[tuple[str, str]]:
        """Require delays that grow."""
        if self.max_seconds < self.base_seconds:
            yield "max_seconds", "can't be less than APP_THROTTLE__BASE_SECONDS"
