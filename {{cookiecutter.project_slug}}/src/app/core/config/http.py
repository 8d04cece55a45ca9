"""Settings of what is done to every request and response."""

import re
from ipaddress import ip_network
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from app.core.config.base import Names, SettingsGroup, refusal

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.IGNORECASE)
_HOST = re.compile(r"(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[?[0-9a-f:]+\]?", re.IGNORECASE)
_KIBIBYTE = 1024


class HttpSettings(SettingsGroup):
    """Who may ask, and how large questions and answers may be."""

    cors_origins: Names = Field(default=[])
    """Origins whose pages may call the service, such as `https://www.example.com`. `*` stands for
    all of them; it is refused in production, and always together with credentials."""

    cors_allow_credentials: bool = False
    """Whether browsers may send cookies along. Bearer tokens don't need it."""

    trusted_hosts: Names = Field(default=["*"])
    """Values of `Host` that are answered, such as `api.example.com` or `*.example.com`. Production
    refuses `*`."""

    forwarded_allow_ips: Names = Field(default=["127.0.0.1"])
    """Addresses or networks of the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are
    believed, such as `10.0.0.0/8`. Production refuses `*`: a client could choose its address."""

    max_body_bytes: Annotated[int, Field(ge=_KIBIBYTE, le=_KIBIBYTE**3)] = _KIBIBYTE**2
    """Largest request body, in bytes."""

    compress_min_bytes: Annotated[int, Field(ge=0)] = _KIBIBYTE
    """Responses smaller than this, in bytes, are not compressed."""

    docs_enabled: bool | None = None
    """Whether `/docs` and the OpenAPI document are served. Unset: everywhere but in production."""

    hsts_seconds: Annotated[int, Field(ge=0, le=63_072_000)] = 31_536_000
    """Seconds for which browsers are told, in production, to use HTTPS (RFC 6797). 0: not told."""

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                message = (
                    f"{origin!r} is no origin: it must be 'scheme://host' or 'scheme://host:port',"
                    " without a path or a slash at the end"
                )
                raise ValueError(message)
        return origins

    @field_validator("trusted_hosts")
    @classmethod
    def _are_hosts(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            if host != "*" and not _HOST.fullmatch(host):
                message = f"{host!r} is no host name: write 'api.example.com' or '*.example.com'"
                raise ValueError(message)
        return hosts

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _are_networks(cls, networks: list[str]) -> list[str]:
        for network in networks:
            if network == "*":
                continue
            try:
                ip_network(network)
            except ValueError as error:
                message = f"{network!r} is no address and no network such as '10.0.0.0/8'"
                raise ValueError(message) from error
        return networks

    @model_validator(mode="after")
    def _credentials_only_for_named_origins(self) -> Self:
        if self.cors_allow_credentials and "*" in self.cors_origins:
            sentence = "'*' together with credentials opens every account to every web page"
            raise refusal(type(self).__name__, {("cors_origins",): sentence})
        return self
