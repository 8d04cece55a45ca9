"""What `app prune` deletes, tried on the real database."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app import models
from app.core.clock import utc_now
from app.tasks.pruning import delete_expired
from tests.support.arrange import Arrange, Someone
from tests.support.factories import AuthSessionFactory, LoginThrottleFactory, RefreshTokenFactory

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

Prune = Callable[[], Awaitable[dict[str, int]]]


@pytest.fixture
def prune(arrange_async: Arrange, running_async: FastAPI) -> Prune:
    """Clean up, and return of which rows how many were deleted."""

    async def deleted() -> dict[str, int]:
        report = await delete_expired(running_async.state.resources)
        rows = {"sessions", "refresh_tokens", "login_throttles", "idempotency_keys"}
        return {name: number for name, number in report.items() if number and name in rows}

    return deleted


@pytest.fixture
async def user(arrange_async: Arrange) -> Someone:
    return await arrange_async.someone()


class TestPrune:
    async def test_leaves_what_is_in_use(
        self, prune: Prune, arrange_async: Arrange, user: Someone
    ) -> None:
        now = utc_now()
        await arrange_async.store(
            RefreshTokenFactory.build(session_id=user.session_id, used_at=now - 29 * DAY),
            LoginThrottleFactory.build(window_started_at=now - timedelta(minutes=59)),
        )

        assert await prune() == {}

        assert len(await arrange_async.rows(select(models.AuthSession.id))) == 1
        assert len(await arrange_async.rows(select(models.RefreshToken.id))) == 2
        assert len(await arrange_async.rows(select(models.LoginThrottle.key))) == 1

    @pytest.mark.parametrize(
        "over",
        [
            pytest.param({"expires_at": utc_now() - SECOND}, id="expired"),
            pytest.param({"revoked_at": utc_now() - SECOND}, id="ended"),
        ],
    )
    async def test_deletes_sessions_that_are_over_with_their_tokens(
        self,
        prune: Prune,
        arrange_async: Arrange,
        user: Someone,
        over: dict[str, Any],
    ) -> None:
        login = AuthSessionFactory.build(user_id=user.id, scope="", **over)
        await arrange_async.store(login, RefreshTokenFactory.build(session_id=login.id))

        assert await prune() == {"sessions": 1}

        rows = await arrange_async.rows(select(models.RefreshToken.session_id))
        assert [row.session_id for row in rows] == [user.session_id]

    async def test_deletes_tokens_that_were_used_long_ago(
        self, prune: Prune, arrange_async: Arrange, user: Someone
    ) -> None:
        long_ago = utc_now() - 31 * DAY
        token = RefreshTokenFactory.build(session_id=user.session_id, used_at=long_ago)
        await arrange_async.store(token)

        assert await prune() == {"refresh_tokens": 1}

        rows = await arrange_async.rows(select(models.RefreshToken.used_at))
        assert [row.used_at for row in rows] == [None]

    async def test_deletes_counts_whose_window_is_over(
        self, prune: Prune, arrange_async: Arrange
    ) -> None:
        over = LoginThrottleFactory.build(window_started_at=utc_now() - timedelta(minutes=61))
        living = LoginThrottleFactory.build()
        await arrange_async.store(over, living)

        assert await prune() == {"login_throttles": 1}

        rows = await arrange_async.rows(select(models.LoginThrottle.key))
        assert [row.key for row in rows] == [living.key]
