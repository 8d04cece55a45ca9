"""Settings of mail."""

from typing import Annotated, Literal, Self

from pydantic import EmailStr, Field, SecretStr, model_validator

from app.core.config.base import Location, SettingsGroup, refusal


class MailSettings(SettingsGroup):
    """How mails leave the service."""

    backend: Literal["console", "smtp"] = "console"
    """`smtp` sends mails; `console` writes recipient and subject to the log and sends nothing.
    Production allows both: the service works without mail."""

    host: str | None = None
    """Name of the SMTP server; `smtp` needs it."""

    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    """Port of the SMTP server: 587 for STARTTLS, 465 for TLS from the first byte."""

    username: str | None = None
    """Account on the SMTP server. Unset: no authentication."""

    password: SecretStr | None = None
    """Password of that account."""

    starttls: bool = True
    """Whether the connection must be encrypted with STARTTLS (RFC 3207)."""

    tls: bool = False
    """Whether the connection is encrypted from the first byte (RFC 8314), instead of STARTTLS."""

    sender: EmailStr | None = None
    """Address that mails come from; `smtp` needs it."""

    timeout: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Seconds that sending one mail may take."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        faults: dict[Location, str] = {}
        if self.backend == "smtp":
            for name in ("host", "sender"):
                if getattr(self, name) is None:
                    faults[name,] = "must be set when APP_MAIL__BACKEND is smtp"
        if (self.username is None) != (self.password is None):
            missing = "username" if self.username is None else "password"
            faults[missing,] = "must be set: user name and password go together"
        if self.username is not None and not (self.starttls or self.tls):
            faults["starttls",] = "can't be off: the password would travel in the clear"
        if faults:
            raise refusal(type(self).__name__, faults)
        return self
