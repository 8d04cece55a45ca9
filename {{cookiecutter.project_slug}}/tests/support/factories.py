"""Rows with plausible values: a test states only what it is about."""

from datetime import timedelta
from functools import cache
from typing import TypeVar

from polyfactory import Use
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
from polyfactory.field_meta import FieldMeta

from app import models
from app.core.clock import utc_now
from app.core.ids import new_id
from app.core.security.secrets import digest, new_api_key, new_refresh_token

Model = TypeVar("Model", bound=models.Base)


class RowFactory(SQLAlchemyFactory[Model]):
    """Looks at its model once, and not again for every row."""

    __is_base_factory__ = True

    @classmethod
    @cache
    def get_model_fields(cls) -> list[FieldMeta]:
        return super().get_model_fields()


class UserFactory(RowFactory[models.User]):
    """An active user of the lowest role."""

    id = Use(new_id)
    email = Use(lambda: f"{new_id().hex}@example.com")
    username = Use(lambda: f"u{new_id().hex[:30]}")
    role = "user"
    is_active = True
    created_at = Use(utc_now)
    updated_at = Use(utc_now)


class AuthSessionFactory(RowFactory[models.AuthSession]):
    """A login that has not ended."""

    __set_relationships__ = False

    id = Use(new_id)
    user_agent = "pytest"
    ip_address = "203.0.113.7"
    created_at = Use(utc_now)
    last_used_at = Use(utc_now)
    expires_at = Use(lambda: utc_now() + timedelta(days=1))
    revoked_at = None


class RefreshTokenFactory(RowFactory[models.RefreshToken]):
    """A token that was not used."""

    __set_relationships__ = False

    id = Use(new_id)
    token_hash = Use(lambda: digest(new_refresh_token()))
    created_at = Use(utc_now)
    used_at = None


class ApiKeyFactory(RowFactory[models.ApiKey]):
    """A key that does not expire, for reading items."""

    id = Use(new_id)
    name = Use(lambda: f"key {new_id().hex[-6:]}")
    key_hash = Use(lambda: digest(new_api_key()))
    hint = "x9Qe"
    scope = "items:read"
    created_at = Use(utc_now)
    expires_at = None
    last_used_at = None


class LoginThrottleFactory(RowFactory[models.LoginThrottle]):
    """One failed login, a moment ago."""

    key = Use(lambda: digest(new_id().hex))
    failures = 1
    window_started_at = Use(utc_now)
    last_failed_at = Use(utc_now)


class ItemFactory(RowFactory[models.Item]):
    """A draft."""

    id = Use(new_id)
    title = Use(lambda: f"Item {new_id().hex[-6:]}")
    description = ""
    status = "draft"
    version = 1
    created_at = Use(utc_now)
    updated_at = Use(utc_now)
