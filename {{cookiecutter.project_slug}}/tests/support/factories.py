"""Rows with plausible values: a test states only what it is about."""

from datetime import timedelta

from polyfactory import Use
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory

from app import models
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


class ItemFactory(SQLAlchemyFactory[models.Item]):
    """A draft."""

    id = Use(new_id)
    title = Use(lambda: f"Item {new_id().hex[-6:]}")
    description = ""
    status = "draft"
    version = 1
    created_at = Use(utc_now)
    updated_at = Use(utc_now)
