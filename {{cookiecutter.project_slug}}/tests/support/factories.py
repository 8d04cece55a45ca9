"""Rows with plausible values: a test states only what it is about."""

from datetime import datetime, timedelta
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar
from uuid import UUID

from polyfactory import Use
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
from polyfactory.field_meta import FieldMeta
from sqlalchemy import Column

from app import models
from app.core.clock import utc_now
from app.core.ids import new_id
from app.core.security.secrets import digest, new_api_key, new_refresh_token
from app.infrastructure.database.repository import table_of

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
    """A key that does not expire, for reading the profile."""

    id = Use(new_id)
    name = Use(lambda: f"key {new_id().hex[-6:]}")
    key_hash = Use(lambda: digest(new_api_key()))
    hint = "x9Qe"
    scope = "profile:read"
    created_at = Use(utc_now)
    expires_at = None
    last_used_at = None


class LoginThrottleFactory(RowFactory[models.LoginThrottle]):
    """One failed login, a moment ago."""

    key = Use(lambda: digest(new_id().hex))
    failures = 1
    window_started_at = Use(utc_now)
    last_failed_at = Use(utc_now)


class IdempotencyKeyFactory(RowFactory[models.IdempotencyKey]):
    """The key of a request that created something, a moment ago."""

    name = Use(lambda: digest(new_id().hex))
    fingerprint = Use(lambda: digest(""))
    expires_at = Use(lambda: utc_now() + timedelta(days=1))
    status = 201
    headers = "{}"
    body = b"{}"


def a_row_of_each_table(user: models.User) -> dict[str, models.Base]:
    """Return a row of each table, by its name: all belong to a user, directly or not."""
    mapped = {mapper.local_table: mapper.class_ for mapper in models.Base.registry.mappers}
    rows: dict[str, models.Base] = {"users": user}
    for table in models.Base.metadata.sorted_tables:
        if table.name not in rows:
            parents = {
                column.name: getattr(rows[key.column.table.name], key.column.name)
                for column in table.columns
                for key in column.foreign_keys
            }
            rows[table.name] = _row(mapped[table], table.name, parents)
    return rows


def _row(model: type[models.Base], table: str, parents: dict[str, Any]) -> models.Base:
    """Build a row by its factory, here or in a module named like the table, or by its types."""
    for module in (__name__, f"tests.support.{table}", f"tests.api.test_{table}"):
        found = import_module(module) if find_spec(module) else None
        factory = getattr(found, f"{model.__name__}Factory", None)
        if factory is not None:
            built: models.Base = factory.build(**parents)
            return built
    values = {
        column.name: _value(column)
        for column in table_of(model).columns
        if not (column.nullable or column.default or column.server_default)
    }
    return model(**values | parents)


def _value(column: Column[Any]) -> object:
    kind = column.type.python_type
    if kind is str:
        return new_id().hex[: getattr(column.type, "length", None) or 32]
    known: dict[type, Any] = {UUID: new_id, datetime: utc_now, int: lambda: 1}
    return known.get(kind, kind)()
