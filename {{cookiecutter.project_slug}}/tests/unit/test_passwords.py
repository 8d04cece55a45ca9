"""Password hashing and requirements (rules SCH07, SEC05, SEC11)."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import product

import pytest
from argon2 import Type, extract_parameters
from hypothesis import given
from hypothesis import strategies as st

from app.about import DISTRIBUTION, TITLE
from app.core.config import PasswordSettings
from app.core.errors import PasswordHashingBusy
from app.core.security.passwords import (
    PasswordHasher,
    Verification,
    normalized_password,
)

CHEAP = PasswordSettings(memory_kib=8, time_cost=1, max_concurrent=2, max_waiting=1)
PASSWORD = "Analytical1Engine"
# Composed, decomposed, and with a digit of full width.
KEYBOARDS = ["D\u00e9cor1Engine", "De\u0301cor1Engine", "D\u00e9cor\uff11Engine"]

LENGTH = "8 to 128 characters"
UPPER = "an upper-case letter"
LOWER = "a lower-case letter"
DIGIT = "a digit"
COMMON = "to be less common"
NAMES = "8 characters besides the names of the account and service"


class HeldHash:
    """A fake of Argon2 that blocks until released."""

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
    async def test_is_salted_argon2id_with_the_parameters_of_the_settings(
        self, hasher: PasswordHasher
    ) -> None:
        password_hash = await hasher.hash(PASSWORD)
        parameters = extract_parameters(password_hash)
        assert parameters.type is Type.ID
        assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (8, 1, 1)
        assert (parameters.salt_len, parameters.hash_len) == (16, 32)
        assert await hasher.hash(PASSWORD) != password_hash


class TestVerify:
    async def test_accepts_the_password_alone(self, hasher: PasswordHasher) -> None:
        password_hash = await hasher.hash(PASSWORD)
        assert await hasher.verify(PASSWORD, password_hash) == Verification(matches=True)
        for other in ("", PASSWORD.lower(), PASSWORD + " "):
            assert await hasher.verify(other, password_hash) == Verification(matches=False)

    async def test_accepts_any_form_of_a_character(self, hasher: PasswordHasher) -> None:
        for typed, chosen in product(KEYBOARDS, repeat=2):
            assert (await hasher.verify(typed, await hasher.hash(chosen))).matches

    async def test_reports_outdated_parameters(self, hasher: PasswordHasher) -> None:
        password_hash = await hasher.hash(PASSWORD)
        raised = CHEAP.model_copy(update={"time_cost": 2})
        async with PasswordHasher.open(raised) as later:
            assert await later.verify(PASSWORD, password_hash) == Verification(True, outdated=True)
            assert await later.verify("Other1Engine", password_hash) == Verification(False)

    async def test_refuses_an_invalid_hash(self, hasher: PasswordHasher) -> None:
        for stored in ("", "no hash", "$argon2id$v=19$broken"):
            assert not (await hasher.verify(PASSWORD, stored)).matches

    async def test_costs_as_much_without_an_account(self, hasher: PasswordHasher) -> None:
        real, decoy = await hasher.hash(PASSWORD), hasher._decoy
        assert extract_parameters(decoy) == extract_parameters(real)
        assert await hasher.verify(PASSWORD, None) == Verification(matches=False)
        assert PasswordHasher(CHEAP)._decoy != decoy


class TestThreads:
    async def test_leave_the_event_loop_free_and_are_bounded(
        self, hasher: PasswordHasher, held: HeldHash
    ) -> None:
        hashing = [asyncio.create_task(hasher.hash(PASSWORD)) for _ in range(3)]
        await held.has_started()
        await held.has_started()
        assert not held.started.acquire(blocking=False), "the third one waits"
        for refused in (hasher.hash(PASSWORD), hasher.verify(PASSWORD, None)):
            with pytest.raises(PasswordHashingBusy):
                await refused
        # A caller that leaves makes room.
        hashing[2].cancel()
        await asyncio.wait([hashing.pop()])
        hashing.append(asyncio.create_task(hasher.hash(PASSWORD)))
        held.may_end.set()
        assert await asyncio.gather(*hashing) == [f"hash of {PASSWORD}"] * 3
        assert await hasher.hash(PASSWORD), "there is room again"
        assert len(held.threads) == 2
        assert threading.current_thread().name not in held.threads

    async def test_are_other_ones_for_owners(self, hasher: PasswordHasher) -> None:
        password_hash = await hasher.hash(PASSWORD)
        may_end = threading.Event()
        work = partial(may_end.wait, 60)
        strangers = [asyncio.create_task(hasher._strangers.run(work)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(PasswordHashingBusy):
            await hasher.verify(PASSWORD, password_hash)
        assert (await hasher.verify(PASSWORD, password_hash, known=True)).matches
        assert await hasher.hash(PASSWORD, known=True)
        may_end.set()
        assert await asyncio.gather(*strangers) == [True] * 3

    async def test_end_with_the_hasher(self) -> None:
        async with PasswordHasher.open(CHEAP) as hasher:
            await hasher.hash(PASSWORD)
        with pytest.raises(RuntimeError, match="shutdown"):
            await hasher.hash(PASSWORD)


class TestRequirements:
    @given(st.text(max_size=40))
    def test_are_all_named(self, password: str) -> None:
        normal = normalized_password(password)
        rules = CHEAP.model_copy(update={"composition_rules": True})
        found = PasswordHasher(rules).faults(password)
        assert [fault for fault in found if fault not in {COMMON, NAMES}] == [
            *([] if 8 <= len(normal) <= 128 else [LENGTH]),
            *([] if any(map(str.isupper, normal)) else [UPPER]),
            *([] if any(map(str.islower, normal)) else [LOWER]),
            *([] if any(map(str.isdigit, normal)) else [DIGIT]),
        ]

    @pytest.mark.parametrize(
        "password",
        [
            PASSWORD,
            "correct horse battery staple long phrase",
            "パスワードですよね",
            "größe und weite",
            "kq8 vz2m",
            "a" + "bc" * 63 + "d",
        ],
    )
    def test_are_met_by_any_script(self, hasher: PasswordHasher, password: str) -> None:
        assert hasher.faults(password, "ada", "ada", "example") == []

    @pytest.mark.parametrize(
        "password",
        [
            *("Password1", "Summer2026", "P4$$w0rd!", "12345678", "qwertyuiop", "iloveyou"),
            *("aaaaaaaaaaaa", "abcabcabcabc", "passwordpassword", "January2026!", "1q2w3e4r"),
            *("2026Dragon", "--------", "WELCOME123"),
        ],
    )
    def test_exclude_common_passwords(self, hasher: PasswordHasher, password: str) -> None:
        assert hasher.faults(password) == [COMMON]

    @pytest.mark.parametrize("name", [DISTRIBUTION, TITLE, "ada.lovelace", "Lovelace"])
    def test_exclude_variations_of_names(self, hasher: PasswordHasher, name: str) -> None:
        for password in (f"{name}2026!", f"!{name.upper()}-{name}"):
            assert hasher.faults(password, "ada.lovelace") == [NAMES]
        assert hasher.faults(f"{name} on the engine", "ada.lovelace") == []

    @pytest.mark.parametrize(
        ("password", "faults"),
        [
            ("kq8vz2m", [LENGTH]),
            ("kq8vz2mb" * 16, []),
            ("kq8vz2mb" * 16 + "k", [LENGTH]),
            ("kq" + "e\u0301" * 3, [LENGTH]),
        ],
    )
    def test_count_characters(
        self, hasher: PasswordHasher, password: str, faults: list[str]
    ) -> None:
        assert hasher.faults(password) == faults

    def test_can_be_raised(self) -> None:
        raised = CHEAP.model_copy(update={"min_length": 15})
        assert PasswordHasher(raised).faults(PASSWORD[:14]) == ["15 to 128 characters"]
