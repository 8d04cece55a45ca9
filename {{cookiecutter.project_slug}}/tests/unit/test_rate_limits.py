"""How often something may happen, and how a client learns of it."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch
from uuid import UUID

import pytest
from fastapi import APIRouter, FastAPI, Request
from httpx2 import ASGITransport, AsyncClient
from hypothesis import given
from hypothesis import strategies as st

from app.api.deps.common import (
    AuthRateLimitedByAddress,
    RateLimitedByAddress,
    RateLimiterDep,
    limit_account,
    limit_login,
)
from app.core.config import HttpSettings, RateLimitSettings
from app.core.errors import TooManyRequests
from app.infrastructure.http.handlers import add_exception_handlers
from app.infrastructure.http.middleware import middleware
from app.infrastructure.http.middleware.requests import rate_limit_headers
from app.infrastructure.limits import BoundedMemory, Quota, RateLimiter

LIMITS = RateLimitSettings(
    auth_address="3/minute",
    auth_account="2/minute",
    general_address="5/minute",
    general_account="4/minute",
)
# One member of the lists of `RateLimit` and `RateLimit-Policy`: RFC 9651 §3.3.
MEMBER = re.compile(r'"([a-z-]+)";([rq])=(\d+);([tw])=(\d+)')


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.123

    def __call__(self) -> float:
        return self.now


@contextmanager
def stopped_clock() -> Iterator[Clock]:
    clock = Clock()
    with patch("time.time", clock):
        yield clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    with stopped_clock() as clock:
        yield clock


async def hit(limiter: RateLimiter, subject: str = "somebody") -> Quota:
    quota = await limiter.hit("auth-address", subject)
    assert quota is not None
    return quota


class TestRateLimiter:
    async def test_counts_down_and_then_refuses(self, clock: Clock) -> None:
        limiter = RateLimiter(LIMITS)
        quotas = [await hit(limiter) for _ in range(4)]
        assert [quota.remaining for quota in quotas] == [2, 1, 0, 0]
        assert [quota.allowed for quota in quotas] == [True, True, True, False]
        assert {(quota.policy, quota.limit, quota.window) for quota in quotas} == {
            ("auth-address", 3, 60)
        }

    async def test_counts_each_subject_and_each_policy_by_itself(self, clock: Clock) -> None:
        limiter = RateLimiter(LIMITS)
        for _ in range(3):
            await hit(limiter, "one")
        assert not (await hit(limiter, "one")).allowed
        assert (await hit(limiter, "another")).allowed
        general = await limiter.hit("general-address", "one")
        assert general is not None
        assert general.allowed

    async def test_can_be_switched_off(self) -> None:
        limiter = RateLimiter(LIMITS.model_copy(update={"enabled": False}))
        assert [await limiter.hit("auth-address", "somebody") for _ in range(9)] == [None] * 9

    @given(st.lists(st.floats(min_value=0, max_value=90), max_size=60))
    async def test_never_allows_more_than_the_limit_in_a_window(self, waits: list[float]) -> None:
        with stopped_clock() as clock:
            limiter = RateLimiter(LIMITS)
            windows: Counter[int] = Counter()
            for wait in waits:
                clock.now += wait
                quota = await hit(limiter)
                windows[int(clock.now // 60)] += quota.allowed
                assert 0 <= quota.remaining < 3
                assert 1 <= quota.reset_after <= 61
        assert all(count <= 3 for count in windows.values())

    @given(st.lists(st.floats(min_value=0, max_value=40), min_size=3, max_size=40))
    async def test_keeps_its_word_on_when_to_come_back(self, waits: list[float]) -> None:
        with stopped_clock() as clock:
            limiter = RateLimiter(LIMITS)
            for wait in waits:
                clock.now += wait
                quota = await hit(limiter)
                if not quota.allowed:
                    clock.now += quota.reset_after
                    assert (await hit(limiter)).allowed


class TestBoundedMemory:
    async def test_counts_until_a_counter_expires(self, clock: Clock) -> None:
        memory = BoundedMemory()
        assert [await memory.incr("key", 10), await memory.incr("key", 10, 4)] == [1, 5]
        clock.now += 10
        assert await memory.get("key") == 0
        assert await memory.incr("key", 10) == 1

    async def test_weighs_the_previous_window(self, clock: Clock) -> None:
        memory = BoundedMemory()
        clock.now = 60 * 1000.0
        for _ in range(10):
            assert await memory.acquire_sliding_window_entry("key", 10, 60)
        clock.now += 90
        # Half of the previous window still counts: five of its ten.
        allowed = [await memory.acquire_sliding_window_entry("key", 10, 60) for _ in range(6)]
        assert allowed == [True] * 5 + [False]

    async def test_evicts_expired_counters_as_it_counts(self, clock: Clock) -> None:
        memory = BoundedMemory()
        await memory.incr("long", 1000)
        for number in range(1000):
            await memory.incr(f"old-{number}", 10)
        clock.now += 11
        for number in range(501):
            await memory.incr(f"new-{number}", 10)
        assert len(memory.storage) == len(memory.expirations) == 502
        assert await memory.get("long") == 1

    async def test_never_grows_beyond_its_bound(self, clock: Clock) -> None:
        memory = BoundedMemory(max_keys=50)
        for number in range(500):
            await memory.incr(f"key-{number}", 60)
        assert len(memory.storage) == len(memory.expirations) == 50
        assert await memory.get("key-499") == 1


def build(settings: RateLimitSettings = LIMITS) -> FastAPI:
    app = FastAPI(middleware=middleware(HttpSettings()))
    add_exception_handlers(app)
    app.state.resources = SimpleNamespace(rate_limiter=RateLimiter(settings))
    general = APIRouter(dependencies=[RateLimitedByAddress])
    auth = APIRouter(prefix="/auth", dependencies=[AuthRateLimitedByAddress])

    @general.get("/widgets")
    async def list_widgets() -> None: ...

    @auth.post("/token/{username}")
    async def log_in(request: Request, limiter: RateLimiterDep, username: str) -> None:
        await limit_login(request, limiter, username)

    @general.get("/account/{account_id}")
    async def get_account(request: Request, limiter: RateLimiterDep, account_id: int) -> None:
        await limit_account(request, limiter, UUID(int=account_id))

    general.include_router(auth)
    app.include_router(general)
    return app


def client(app: FastAPI, address: str = "203.0.113.9") -> AsyncClient:
    transport = ASGITransport(app=app, client=(address, 4321))
    return AsyncClient(transport=transport, base_url="http://api")


async def statuses(api: AsyncClient, number: int, path: str = "/widgets") -> list[int]:
    return [(await api.get(path)).status_code for _ in range(number)]


class TestLimitByAddress:
    @pytest.fixture
    async def api(self, clock: Clock) -> AsyncIterator[AsyncClient]:
        async with client(build()) as opened:
            yield opened

    async def test_refuses_with_a_problem_that_says_when_to_come_back(
        self, api: AsyncClient, clock: Clock
    ) -> None:
        assert await statuses(api, 5) == [200] * 5
        response = await api.get("/widgets")
        assert (response.status_code, response.json()["code"]) == (429, "too_many_requests")
        clock.now += int(response.headers["retry-after"])
        assert await statuses(api, 1) == [200]

    async def test_says_on_every_response_what_is_left(self, api: AsyncClient) -> None:
        responses = [await api.get("/widgets") for _ in range(6)]
        left = [MEMBER.fullmatch(each.headers["ratelimit"]) for each in responses]
        assert [int(each[3]) for each in left if each] == [4, 3, 2, 1, 0, 0]
        policies = [each.headers.get("ratelimit-policy") for each in responses]
        assert policies == [None] * 5 + ['"general-address";q=5;w=60']

    async def test_is_stricter_under_auth_and_names_both_limits(self, api: AsyncClient) -> None:
        responses = [await api.post(f"/auth/token/user-{number}") for number in range(4)]
        assert [each.status_code for each in responses] == [200, 200, 200, 429]
        names = [member[1] for member in MEMBER.finditer(responses[0].headers["ratelimit"])]
        assert names == ["general-address", "auth-address", "auth-account"]

    async def test_lets_other_paths_alone(self, api: AsyncClient) -> None:
        response = await api.get("/nowhere")
        assert "ratelimit" not in response.headers

    @pytest.mark.parametrize(
        ("first", "second", "same"),
        [
            ("203.0.113.1", "203.0.113.2", False),
            ("2001:db8::1", "2001:db8::ffff:2", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("::ffff:203.0.113.1", "203.0.113.1", True),
            ("fe80::1%eth0", "fe80::2%eth0", True),
            ("a-socket", "a-socket", True),
        ],
    )
    async def test_counts_an_ipv6_network_as_one(
        self, clock: Clock, first: str, second: str, *, same: bool
    ) -> None:
        app = build()
        async with client(app, first) as one, client(app, second) as another:
            await statuses(one, 5)
            assert await statuses(another, 1) == [429 if same else 200]

    async def test_counts_clients_without_address_as_one(self, clock: Clock) -> None:
        transport = ASGITransport(app=build(), client=None)  # type: ignore[arg-type]
        async with AsyncClient(transport=transport, base_url="http://api") as api:
            assert await statuses(api, 6) == [200] * 5 + [429]

    async def test_does_nothing_if_switched_off(self) -> None:
        app = build(LIMITS.model_copy(update={"enabled": False}))
        async with client(app) as api:
            responses = [await api.get("/widgets") for _ in range(9)]
        assert {each.status_code for each in responses} == {200}
        assert "ratelimit" not in responses[0].headers


class TestLimitByAccount:
    async def test_holds_an_account_whatever_its_address(self, clock: Clock) -> None:
        app = build()
        for number in range(4):
            async with client(app, f"203.0.113.{number}") as api:
                assert await statuses(api, 1, "/account/7") == [200]
        async with client(app, "203.0.113.99") as api:
            assert await statuses(api, 1, "/account/7") == [429]
            assert await statuses(api, 1, "/account/8") == [200]

    async def test_holds_a_name_at_login_however_it_is_written(self, clock: Clock) -> None:
        app = build()
        answers = []
        for number, name in enumerate(["Ada", " ada ", "ADA", "grace"]):
            async with client(app, f"203.0.113.{number}") as api:
                answers.append((await api.post(f"/auth/token/{name}")).status_code)
        assert answers == [200, 200, 429, 200]

    async def test_keeps_no_name(self, clock: Clock) -> None:
        app = build()
        async with client(app) as api:
            await api.post("/auth/token/ada")
        storage = app.state.resources.rate_limiter._strategy.storage
        assert not [key for key in storage.storage if "ada" in key]

    async def test_says_which_limit_it_was_in_the_log_only(self, clock: Clock) -> None:
        async with client(build()) as api:
            await statuses(api, 4, "/account/7")
            response = await api.get("/account/7")
        assert response.json()["code"] == TooManyRequests.code
        assert "policy" not in response.json()


quotas = st.builds(
    Quota,
    policy=st.sampled_from(["auth-address", "general-account"]),
    limit=st.integers(min_value=1, max_value=10**9),
    window=st.integers(min_value=1, max_value=10**7),
    remaining=st.integers(min_value=0, max_value=10**9),
    reset_after=st.integers(min_value=1, max_value=10**7),
    allowed=st.booleans(),
)


class TestHeaders:
    @given(st.lists(quotas, min_size=1, max_size=4))
    def test_are_structured_fields_that_say_it_all(self, given_quotas: list[Quota]) -> None:
        headers = dict(rate_limit_headers(given_quotas))
        left = [MEMBER.fullmatch(member) for member in headers[b"ratelimit"].decode().split(", ")]
        assert [each.groups() for each in left if each] == [
            (quota.policy, "r", str(quota.remaining), "t", str(quota.reset_after))
            for quota in given_quotas
        ]
        assert (b"ratelimit-policy" in headers) is not all(quota.allowed for quota in given_quotas)
        if text := headers.get(b"ratelimit-policy", b"").decode():
            policies = [MEMBER.fullmatch(member) for member in text.split(", ")]
            assert [each.groups() for each in policies if each] == [
                (quota.policy, "q", str(quota.limit), "w", str(quota.window))
                for quota in given_quotas
            ]
