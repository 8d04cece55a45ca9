"""The outbox and its relay: claims, retries and shutdown."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Row, select, text, update
from structlog.testing import capture_logs

from app.config import Settings
from app.core.clock import utc_now
from app.core.errors import Unavailable
from app.core.ids import new_id
from app.domain.notifications import SendMail
from app.domain.users import UserId
from app.infrastructure import outbox
from app.infrastructure.database import Database
from app.infrastructure.database.database import AfterCommit
from app.infrastructure.outbox import Outbox, Relay, table
from tests.support.arrange import KINDS
from tests.support.waiting import PATIENCE, eventually

Deliver = Callable[[Row[Any], object], Awaitable[None]]


@pytest.fixture
def url(own_database_url: str, make_settings: Callable[..., Settings]) -> Settings:
    # No line of the log is about a slow machine.
    return make_settings(own_database_url, database={"slow_statement_ms": 60_000})


@pytest.fixture
async def database(url: Settings) -> AsyncIterator[Database]:
    async with Database.open(url.database, pool_size=5) as database:
        yield database


async def nothing() -> None: ...


async def enqueue(database: Database, count: int = 1, wake: AfterCommit = nothing) -> None:
    async with database.transaction() as session:
        for _ in range(count):
            job = SendMail("password_changed", UserId(new_id()))
            await Outbox(session, wake).enqueue(job)


async def tries(database: Database) -> list[int]:
    async with database.read() as connection:
        return list(await connection.scalars(select(table().c.tries)))


async def change(database: Database, **values: object) -> None:
    async with database.transaction() as session:
        await session.execute(update(table()).values(values))


async def rename(database: Database, name: str, other: str) -> None:
    async with database.transaction() as session:
        await session.execute(text(f"ALTER TABLE {name} RENAME TO {other}"))


class Held:
    """A delivery that blocks until released."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        self.done: list[UUID] = []

    async def __call__(self, row: Row[Any], _: object) -> None:
        self.started.set()
        await self.may_end.wait()
        self.done.append(row.id)


class TestRelays:
    async def test_deliver_each_message_once(self, url: Settings, database: Database) -> None:
        seen: list[tuple[int, UUID]] = []

        def noting(number: int) -> Deliver:
            async def deliver(row: Row[Any], _: object) -> None:
                seen.append((number, row.id))
                await asyncio.sleep(0)

            return deliver

        await enqueue(database, 60)
        async with (
            Database.open(url.database, pool_size=5) as other,
            Relay(database, KINDS, noting(1)).open(PATIENCE),
            Relay(other, KINDS, noting(2)).open(PATIENCE),
        ):
            pass
        assert len(seen) == len({each for _, each in seen}) == 60
        assert await tries(database) == []

    async def test_look_for_messages_of_other_processes(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbox, "_POLL_SECONDS", 0.01)
        held = Held()
        async with Relay(database, KINDS, held).open(PATIENCE):
            await enqueue(database)
            await held.started.wait()
            held.may_end.set()
        assert len(held.done) == 1

    async def test_do_not_wait_for_a_slow_delivery(self, database: Database) -> None:
        done: list[UUID] = []
        first, may_end = asyncio.Event(), asyncio.Event()

        async def deliver(row: Row[Any], _: object) -> None:
            if not first.is_set():
                first.set()
                await may_end.wait()
            done.append(row.id)
            may_end.set()

        async with Relay(database, KINDS, deliver).open(PATIENCE):
            await enqueue(database, 2)
        assert len(done) == 2

    async def test_pause_during_an_outage(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = Held()
        held.may_end.set()

        async def fail() -> None:
            raise Unavailable(reason="away")

        relay = Relay(database, KINDS, held)
        monkeypatch.setattr(relay, "_claim", fail)
        with capture_logs() as lines:
            async with relay.open(PATIENCE):
                for _ in range(2):
                    await enqueue(database, wake=relay.wake)
                await eventually(lambda: is_logged(lines, "outbox paused"))
                assert await tries(database) == [0, 0]
                monkeypatch.undo()
                await relay.wake()
                await eventually(lambda: is_logged(lines, "outbox resumed"))
        assert len(held.done) == 2
        assert [line["event"] for line in lines] == ["outbox paused", "outbox resumed"]

    async def test_survive_a_missing_table(self, database: Database) -> None:
        await rename(database, "outbox", "away")
        held = Held()
        held.may_end.set()
        with capture_logs() as lines:
            relay = Relay(database, KINDS, held)
            async with relay.open(PATIENCE):
                await eventually(lambda: is_logged(lines, "outbox paused"))
                await rename(database, "away", "outbox")
                await enqueue(database, wake=relay.wake)
                await held.started.wait()
        assert len(held.done) == 1


async def is_logged(lines: Sequence[Mapping[str, object]], event: str) -> bool:
    return any(line["event"] == event for line in lines)


class TestFailure:
    async def test_is_retried_after_a_delay_that_doubles(self, database: Database) -> None:
        async def fail(*_: object) -> None:
            raise OSError

        await enqueue(database)
        for number, delay in ((1, 5), (2, 10), (3, 20), (20, 3600)):
            await change(database, due_at=utc_now(), tries=number - 1)
            before = utc_now()
            async with Relay(database, KINDS, fail).open(PATIENCE):
                pass
            async with database.read() as connection:
                row = (await connection.execute(select(table()))).one()
            assert row.tries == number
            passed = row.due_at - before - timedelta(seconds=delay)
            assert timedelta(0) <= passed < timedelta(seconds=PATIENCE)

    async def test_is_final_after_thirty_attempts(self, database: Database) -> None:
        held = Held()
        await enqueue(database)
        await change(database, tries=30)
        with capture_logs() as lines:
            async with Relay(database, KINDS, held).open(PATIENCE):
                pass
        assert await tries(database) == []
        (line,) = [each for each in lines if each["event"] == "job dropped"]
        assert line["log_level"] == "error"
        assert not held.started.is_set()

    async def test_is_no_error_while_a_server_is_away(self, database: Database) -> None:
        async def deliver(*_: object) -> None:
            raise Unavailable

        await enqueue(database)
        with capture_logs() as lines:
            async with Relay(database, KINDS, deliver).open(PATIENCE):
                pass
        assert [(line["log_level"], line["event"]) for line in lines] == [
            ("warning", "job deferred")
        ]
        assert await tries(database) == [1]

    async def test_of_an_unknown_or_malformed_job_reveals_nothing(self, database: Database) -> None:
        held = Held()
        for values in ({"kind": "Unknown"}, {"payload": {"job": {"template": "secret"}}}):
            await enqueue(database)
            await change(database, **values)
            with capture_logs() as lines:
                async with Relay(database, KINDS, held).open(PATIENCE):
                    pass
            assert [line["event"] for line in lines] == ["job failed"]
            assert "secret" not in str(lines)
        assert not held.started.is_set()


class TestClaim:
    async def test_lasts_if_its_outcome_is_not_recorded(self, database: Database) -> None:
        held = Held()
        await enqueue(database)
        with capture_logs() as lines:
            relay = Relay(database, KINDS, held)
            async with relay.open(PATIENCE):
                await held.started.wait()
                await rename(database, "outbox", "away")
                held.may_end.set()
                await eventually(lambda: is_logged(lines, "delivery not recorded"))
                await rename(database, "away", "outbox")
                await enqueue(database, wake=relay.wake)
        assert len(held.done) == 2
        assert await tries(database) == [1]

    async def test_that_has_ended_does_not_settle_the_message(self, database: Database) -> None:
        held = Held()
        await enqueue(database)
        async with Relay(database, KINDS, held).open(PATIENCE):
            await held.started.wait()
            later = utc_now() + timedelta(hours=1)
            await change(database, due_at=later)
            held.may_end.set()
        assert await tries(database) == [1]

    async def test_ends_at_once_when_its_process_stops(self, database: Database) -> None:
        held = Held()
        await enqueue(database)
        async with Relay(database, KINDS, held).open(0):
            await held.started.wait()
        assert held.done == []
        held.may_end.set()
        async with Relay(database, KINDS, held).open(PATIENCE):
            pass
        assert len(held.done) == 1


async def test_metrics_show_number_and_age(database: Database) -> None:
    relay = Relay(database, KINDS, Held())
    assert [each.value for each in await relay.measure()] == [0, 0]
    await enqueue(database, 2)
    await change(database, created_at=utc_now() - timedelta(minutes=1))
    number, age = await relay.measure()
    assert number.value == 2
    assert 60 <= age.value < 60 + PATIENCE
