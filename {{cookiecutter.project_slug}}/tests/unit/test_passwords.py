"""Password hashing: Argon2id, off the event loop, never too much at once (rules SEC05, SEC11)."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from argon2 import Type, extract_parameters

from app.core.config import PasswordSettings
from app.core.errors import PasswordHashingBusy
from app.core.security.passwords import PasswordHasher, Verification

CHEAP = PasswordSettings(memory_kib=8, time_cost=1, max_concurrent=2, max_waiting=1)
PASSWORD = "Analytical1Engine"
# Composed, decomposed, and with a digit of full width.
KEYBOARDS = ["D\u00e9cor1Engine", "De\u0301cor1Engine", "D\u00e9cor\uff11Engine"]


class HeldHash:
    """Stands in for Argon2, and takes as long as a test wants it to."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.started = threading.Semaphore(0)
        self.may_end = threading.Event()

    def hash(self, password: str) -> str:
        self.threads.add(threading.current_thread().name)
        self.started.release()
        assert self.may_end.wait(timeout=60)
        return f"hash of {password}"

    async def has_started(self) -> None:
        assert await asyncio.to_thread(self.started.acquire, timeout=60)


@pytest.fixture
async def hasher() -> AsyncIterator[PasswordHasher]:
    async with PasswordHasher.open(CHEAP) as hasher:
        yield hasher


@pytest.fixture
def held(hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldHash]:
    held = HeldHash()
    monkeypatch.setattr(hasher, "_argon2", held)
    yield held
    held.may_end.set()


class TestHash:
    async def test_is_argon2id_with_the_parameters_of_the_settings(
        self, hasher: PasswordHasher
    ) -> None:
        parameters = extract_parameters(await hasher.hash(PASSWORD))
        assert parameters.type is Type.ID
        assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (8, 1, 1)
        assert (parameters.salt_len, parameters.hash_len) == (16, 32)

    async def test_is_salted(self, hasher: PasswordHasher) -> None:
        assert await hasher.hash(PASSWORD) != await hasher.hash(PASSWORD)


class TestVerify:
    async def test_takes_the_right_password(self, hasher: PasswordHasher) -> None:
        password_hash = await hasher.hash(PASSWORD)
        assert await hasher.verify(PASSWORD, password_hash) == Verification(matches=True)

    @pytest.mark.parametrize("typed", KEYBOARDS)
    async def test_takes_letters_however_a_keyboard_sends_them(
        self, hasher: PasswordHasher, typed: str
    ) -> None:
        for chosen in KEYBOARDS:
            assert (await hasher.verify(typed, await hasher.hash(chosen))).matches

    @pytest.mark.parametrize("password", ["", "analytical1engine", PASSWORD + " "])
    async def test_refuses_another(self, hasher: PasswordHasher, password: str) -> None:
        password_hash = await hasher.hash(PASSWORD)
        assert not (await hasher.verify(password, password_hash)).matches

    async def test_tells_when_a_hash_was_made_with_other_parameters(
        self, hasher: PasswordHasher
    ) -> None:
        password_hash = await hasher.hash(PASSWORD)
        raised = CHEAP.model_copy(update={"time_cost": 2})
        async with PasswordHasher.open(raised) as later:
            assert await later.verify(PASSWORD, password_hash) == Verification(True, outdated=True)
            wrong = await later.verify("Difference2Engine", password_hash)
        assert wrong == Verification(False)

    @pytest.mark.parametrize("stored", ["", "no hash", "$argon2id$v=19$broken"])
    async def test_refuses_what_is_no_hash(self, hasher: PasswordHasher, stored: str) -> None:
        assert not (await hasher.verify(PASSWORD, stored)).matches

    async def test_works_as_hard_where_there_is_no_account(self, hasher: PasswordHasher) -> None:
        real, decoy = await hasher.hash(PASSWORD), hasher._decoy
        assert extract_parameters(decoy) == extract_parameters(real)
        assert await hasher.verify(PASSWORD, None) == Verification(matches=False)

    async def test_has_a_decoy_that_nobody_else_knows(self, hasher: PasswordHasher) -> None:
        assert PasswordHasher(CHEAP)._decoy != hasher._decoy


class TestThreads:
    async def test_leave_the_event_loop_free(self, hasher: PasswordHasher, held: HeldHash) -> None:
        hashing = asyncio.create_task(hasher.hash(PASSWORD))
        await held.has_started()
        # Here the loop turns, and the hash is not done.
        assert not hashing.done()
        held.may_end.set()
        assert await hashing == f"hash of {PASSWORD}"
        assert threading.current_thread().name not in held.threads

    async def test_are_no_more_than_the_settings_allow(
        self, hasher: PasswordHasher, held: HeldHash
    ) -> None:
        hashing = [asyncio.create_task(hasher.hash(PASSWORD)) for _ in range(3)]
        await held.has_started()
        await held.has_started()
        assert not held.started.acquire(blocking=False), "the third one waits"
        held.may_end.set()
        await asyncio.gather(*hashing)
        assert len(held.threads) == 2

    async def test_refuse_at_once_when_too_many_wait(
        self, hasher: PasswordHasher, held: HeldHash
    ) -> None:
        hashing = [asyncio.create_task(hasher.hash(PASSWORD)) for _ in range(3)]
        await held.has_started()
        with pytest.raises(PasswordHashingBusy):
            await hasher.hash(PASSWORD)
        with pytest.raises(PasswordHashingBusy):
            await hasher.verify(PASSWORD, None)
        held.may_end.set()
        await asyncio.gather(*hashing)
        assert await hasher.hash(PASSWORD), "there is room again"

    async def test_make_room_when_somebody_who_waits_goes_away(
        self, hasher: PasswordHasher, held: HeldHash
    ) -> None:
        hashing = [asyncio.create_task(hasher.hash(PASSWORD)) for _ in range(3)]
        await held.has_started()
        await held.has_started()
        hashing[2].cancel()
        await asyncio.wait(hashing[2:])
        hashing[2] = asyncio.create_task(hasher.hash(PASSWORD))
        held.may_end.set()
        assert await asyncio.gather(*hashing) == [f"hash of {PASSWORD}"] * 3

    async def test_end_with_the_hasher(self) -> None:
        async with PasswordHasher.open(CHEAP) as hasher:
            await hasher.hash(PASSWORD)
        with pytest.raises(RuntimeError, match="shutdown"):
            await hasher.hash(PASSWORD)
