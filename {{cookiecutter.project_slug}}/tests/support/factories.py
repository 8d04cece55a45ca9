"""Rows with plausible values: a test states only what it is about."""

from datetime import timedelta

from polyfactory import Use
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory

from app import models
from app.core.security.secrets import digest, new_api_key, new_refresh_token
from app.domain.clock import utc_now
from app.domain.ids import new_id


class UserFactory(SQLAlchemyFactory[models.User]):
    """An active user of the lowest role."""

    id = Use(new_id)
    email = Use(lambda: f"{new_id().hex}@example.com")
    username = Use(lambda: f"u{new_id().hex[:30]}")
    role = "user"
    is_active = True
    created_at = Use(utc_now)
    updated_at = Use(utc_now)


class AuthSessionFactory(SQLAlchemyFactory[models.AuthSession]):
    """A login that has not ended."""

    __set_relationships__ = False

    id = Use(new_id)
    user_agent = "pytest"
    ip_address = "203.0.113.7"
    created_at = Use(utc_now)
    last_used_at = Use(utc_now)
    expires_at = Use(lambda: utc_now() + timedelta(days=1))
    revoked_at = None


class RefreshTokenFactory(SQLAlchemyFactory[models.RefreshToken]):
    """A token that was not used."""

    __set_relationships__ = False

    id = Use(new_id)
    token_hash = Use(lambda: digest(new_refresh_token()))
    created_at = Use(utc_now)
    used_at = None


class ApiKeyFactory(SQLAlchemyFactory[models.ApiKey]):
    """A key that does not expire, for reading items."""

    id = Use(new_id)
    name = Use(lambda: f"key {new_id().hex[-6:]}")
    key_hash = Use(lambda: digest(new_api_key()))
    hint = "x9Qe"
    scope = "items:read"
    created_at = Use(utc_now)
    expires_at = None
    last_used_at = None


class LoginThrottleFactory(SQLAlchemyFactory[models.LoginThrottle]):
    """One failed login, a moment ago."""

    key = Use(lambda: digest(new_id().hex))
    failures = 1
    window_started_at = Use(utc_now)
    last_failed_at = Use(utc_now)


class ItemFactory(SQLAlchemyFactory[models.Item]):
    """A draft."""

    id = Use(new_id)
    title = Use(lambda: f"Item {new_id().hex[-6:]}")
    description = ""
    status = "draft"
    version = 1
    created_at = Use(utc_now)
    updated_at = Use(utc_now)
