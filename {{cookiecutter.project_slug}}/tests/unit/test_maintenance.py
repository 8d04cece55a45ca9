"""`app prune` on the real database."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app import models
from app.core.clock import utc_now
from app.tasks.pruning import delete_expired
from tests.support.arrange import Arrange
from tests.support.factories import (
    AuthSessionFactory,
    IdempotencyKeyFactory,
    LoginThrottleFactory,
    RefreshTokenFactory,
)

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

Prune = Callable[[], Awaitable[dict[str, int]]]


@pytest.fixture
def prune(arrange_async: Arrange, running_async: FastAPI) -> Prune:
    """Run `app prune`, and return the number of deleted rows by kind."""

    async def deleted() -> dict[str, int]:
        report = await delete_expired(running_async.state.resources)
        rows = {"sessions", "login_throttles", "idempotency_keys"}
        return {name: number for name, number in report.items() if number and name in rows}

    return deleted


async def test_deletes_expired_rows_only(prune: Prune, arrange_async: Arrange) -> None:
    user, now = await arrange_async.account(), utc_now()
    expired = AuthSessionFactory.build(user_id=user.id, expires_at=now - SECOND)
    living = LoginThrottleFactory.build(expires_at=now + MINUTE)
    used = RefreshTokenFactory.build(session_id=user.session_id, used_at=now - 29 * DAY)
    over = [
        expired,
        AuthSessionFactory.build(user_id=user.id, revoked_at=now - SECOND),
        LoginThrottleFactory.build(expires_at=now - SECOND),
        IdempotencyKeyFactory.build(user_id=user.id, expires_at=now - SECOND),
    ]
    kept = IdempotencyKeyFactory.build(user_id=user.id, expires_at=now + MINUTE)
    await arrange_async.store(living, used, kept)
    assert await prune() == {}
    await arrange_async.store(*over, RefreshTokenFactory.build(session_id=expired.id))

    assert await prune() == {
        "sessions": 2,
        "login_throttles": 1,
        "idempotency_keys": 1,
    }

    (session,) = await arrange_async.rows(select(models.AuthSession.id))
    tokens = await arrange_async.rows(select(models.RefreshToken.session_id))
    assert await arrange_async.rows(select(models.IdempotencyKey.name)) == [(kept.name,)]
    (throttle,) = await arrange_async.rows(select(models.LoginThrottle.key))
    assert session.id == user.session_id
    assert [token.session_id for token in tokens] == [user.session_id] * 2
    assert throttle.key == living.key
