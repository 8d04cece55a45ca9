"""Settings of tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from app.about import DISTRIBUTION
from app.core.config.base import Fault, SettingsGroup, refusal
from app.core.jwks import private_keys

_REMEDY = "make one with `app keys generate`"


class AuthSettings(SettingsGroup):
    """Who signs tokens, for whom, and for how long."""

    signing_keys: SecretStr | None = None
    """Private keys as a JWK Set (RFC 7517) in JSON: the first signs, all of them verify. Make one
    with `app keys generate`. Unset: development makes one for itself, production won't start."""

    signing_keys_file: Path | None = None
    """The same in a file, as orchestrators mount secrets, instead of `APP_AUTH__SIGNING_KEYS`."""

    issuer: Annotated[str, Field(min_length=1, max_length=255)] = DISTRIBUTION
    """Who issues the tokens: their `iss`, and the only one that is accepted."""

    audience: Annotated[str, Field(min_length=1, max_length=255)] = DISTRIBUTION
    """For whom the tokens are: their `aud`, and the only one that is accepted."""

    access_token_minutes: Annotated[int, Field(ge=1, le=60)] = 15
    """Minutes that an access token lasts, 60 at most."""

    refresh_token_days: Annotated[int, Field(ge=1, le=365)] = 30
    """Days that a session lasts without being used."""

    verified_token_cache: Annotated[int, Field(ge=0, le=1_000_000)] = 4096
    """Number of verified access tokens that each server process remembers. 0: none."""

    @field_validator("signing_keys")
    @classmethod
    def _are_usable(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None and (weakness := _weakness_of(keys.get_secret_value())):
            raise ValueError(weakness)
        return keys

    @model_validator(mode="after")
    def _has_one_source_of_keys(self) -> Self:
        if self.signing_keys and self.signing_keys_file:
            sentence = "can't be set together with APP_AUTH__SIGNING_KEYS"
            raise refusal(type(self).__name__, {("signing_keys_file",): sentence})
        return self

    def weaknesses(self) -> Iterator[Fault]:
        """Yield why tokens can't be signed in production with these settings."""
        if self.signing_keys_file is not None:
            try:
                weakness = _weakness_of(self.signing_keys_file.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError):
                weakness = "can't be read"
            if weakness:
                yield "signing_keys_file", f"the file {weakness}"
        elif self.signing_keys is None:
            sentence = "must be set in production, or APP_AUTH__SIGNING_KEYS_FILE"
            yield "signing_keys", f"{sentence}; {_REMEDY}"


def _weakness_of(keys: str) -> str | None:
    """Why nobody can sign with these keys, if so."""
    try:
        private_keys(keys)
    except ValueError as error:
        return f"{error}; {_REMEDY}"
    return None
