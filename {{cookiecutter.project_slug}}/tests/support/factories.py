"""Factories of rows with plausible values: tests state only what matters to them."""

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

from polyfactory import Use
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
from polyfactory.field_meta import FieldMeta
from sqlalchemy import CheckConstraint, Column

from app import models
from app.core.clock import utc_now
from app.core.ids import new_id
from app.core.security.secrets import digest, new_api_key, new_refresh_token
from app.infrastructure.database.repository import table_of

Model = TypeVar("Model", bound=models.Base)
_NUMBERS = count(1)


class RowFactory(SQLAlchemyFactory[Model]):
    """A factory that inspects its model once instead of for each row."""

    __is_base_factory__ = True
    __set_foreign_keys__ = False

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
    """A key that has not expired, for reading the profile."""

    id = Use(new_id)
    name = Use(lambda: f"key {new_id().hex[-6:]}")
    key_hash = Use(lambda: digest(new_api_key()))
    hint = "x9Qe"
    scope = "profile:read"
    created_at = Use(utc_now)
    expires_at = Use(lambda: utc_now() + timedelta(days=1))
    last_used_at = None


class LoginThrottleFactory(RowFactory[models.LoginThrottle]):
    """One failed login, a moment ago."""

    key = Use(lambda: digest(new_id().hex))
    failures = 1
    updated_at = Use(utc_now)
    expires_at = Use(lambda: utc_now() + timedelta(days=1))


class IdempotencyKeyFactory(RowFactory[models.IdempotencyKey]):
    """The key of a request that created something, a moment ago."""

    name = Use(lambda: digest(new_id().hex))
    fingerprint = Use(lambda: digest(""))
    expires_at = Use(lambda: utc_now() + timedelta(days=1))
    status = 201
    headers = "{}"
    body = b"{}"


class OutboxMessageFactory(RowFactory[models.OutboxMessage]):
    """A job that is due tomorrow."""

    id = Use(new_id)
    kind = "SendMail"
    created_at = Use(utc_now)
    due_at = Use(lambda: utc_now() + timedelta(days=1))
    tries = 1


def a_row_of_each_table(user: models.User) -> dict[str, dict[str, Any]]:
    """Return the values of a row of each table by name; all belong to a user, directly or not."""
    mapped = {mapper.local_table: mapper.class_ for mapper in models.Base.registry.mappers}
    rows = {"users": _values(user)}
    for table in models.Base.metadata.sorted_tables:
        if table.name not in rows:
            parents = {
                key.parent.name: rows[key.column.table.name][key.column.name]
                for key in table.foreign_keys
                if key.column.table is not table
            }
            factory = _factory_of(table.name, mapped.get(table))
            rows[table.name] = (
                _values(factory.build(**parents))
                if factory
                else {
                    column.name: _value(column)
                    for column in table.columns
                    if column.primary_key
                    or not (column.nullable or column.default or column.server_default)
                }
                | parents
            )
    return rows


def _values(row: models.Base) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if name in table_of(type(row)).columns}


def _factory_of(table: str, model: type | None) -> type[RowFactory[Any]] | None:
    """Return the factory of a model: from here, or from a module named like the table."""
    for module in (__name__, f"tests.support.{table}", f"tests.api.test_{table}"):
        if model and find_spec(module):
            name = f"{model.__name__}Factory"
            found: type[RowFactory[Any]] | None = getattr(import_module(module), name, None)
            if found is not None:
                return found
    return None


def _value(column: Column[Any]) -> object:
    """Return a value of a column's type, or one that the type or a constraint lists."""
    checks = (each for each in column.table.constraints if isinstance(each, CheckConstraint))
    text = " ".join(str(each.sqltext) for each in checks)
    listed = re.findall(rf"\b{column.name} IN \('(.*?)'", text)
    if listed := listed or getattr(column.type, "enums", []):
        return listed[0]
    kind = column.type.python_type
    if kind is str:
        return new_id().hex[: getattr(column.type, "length", None) or 32]
    known: dict[type, Any] = dict.fromkeys((int, float, Decimal), partial(next, _NUMBERS))
    known |= {UUID: new_id, datetime: utc_now, date: lambda: utc_now().date(), object: dict}
    return known.get(kind, kind)()
