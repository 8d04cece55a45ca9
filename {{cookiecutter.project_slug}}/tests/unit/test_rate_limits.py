"""Rate limits and their headers."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.api.deps.common import RateLimitedByAddress
from app.core.config import HttpSettings, RateLimitSettings, rate_of
from app.infrastructure.http.handlers import add_exception_handlers
from app.infrastructure.http.middleware import middleware, rate_limit_headers
from app.infrastructure.limits import Quota, RateLimiter, network_of

LIMITS = RateLimitSettings(
    auth_address="3/minute",
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
    with patch("app.infrastructure.limits.time", SimpleNamespace(time=clock, monotonic=clock)):
        yield clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    with stopped_clock() as clock:
        yield clock


async def hit(limiter: RateLimiter, subject: str = "somebody") -> Quota:
    quota = await limiter.hit("auth-address", subject)
    assert quota is not None
    return quota


@pytest.mark.parametrize(
    ("text", "rate"),
    [("30/minute", (30, 60)), ("5 per 10 seconds", (5, 10)), (" 2/Days ", (2, 86_400))],
)
def test_a_rate_is_requests_and_seconds(text: str, rate: tuple[int, int]) -> None:
    assert rate_of(text) == rate


@pytest.mark.parametrize("text", ["", "30", "minute", "-1/minute", "1.5/minute", "30/fortnight"])
def test_a_rate_is_refused_if_it_is_none(text: str) -> None:
    with pytest.raises(ValidationError, match="is not a rate such as '30/minute'"):
        RateLimitSettings(auth_address=text)


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
    async def test_allows_a_request_after_the_announced_wait(self, waits: list[float]) -> None:
        with stopped_clock() as clock:
            limiter = RateLimiter(LIMITS)
            for wait in waits:
                clock.now += wait
                quota = await hit(limiter)
                if not quota.allowed:
                    clock.now += quota.reset_after
                    assert (await hit(limiter)).allowed

    async def test_is_not_reset_by_a_clock_that_is_set_back(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limiter = RateLimiter(LIMITS)
        times = [1_700_000_000.0, 1_600_000_000.0] * 3
        monkeypatch.setattr("time.time", times.pop)
        assert [(await hit(limiter)).allowed for _ in range(4)] == [True, True, True, False]

    async def test_weighs_the_previous_window(self, clock: Clock) -> None:
        limiter = RateLimiter(LIMITS.model_copy(update={"auth_address": "10/minute"}))
        allowed = {}
        # At the beginning of a window, in the middle of the next, and after two more.
        for seconds in (60, 150, 270):
            clock.now = 1_700_000_000 // 60 * 60 + seconds
            allowed[seconds] = sum([(await hit(limiter)).allowed for _ in range(12)])
        assert allowed == {60: 10, 150: 5, 270: 10}

    async def test_evicts_expired_counters_and_never_grows_beyond_its_bound(
        self, clock: Clock
    ) -> None:
        limits = LIMITS.model_copy(update={"general_address": "5/hour"})
        limiter = RateLimiter(limits, max_counters=600)
        await limiter.hit("general-address", "long")
        sizes = []
        for name, number in [("old", 500), ("new", 251), ("more", 1000)]:
            for each in range(number):
                await hit(limiter, f"{name}-{each}")
            sizes.append(len(limiter._counters))
            clock.now += 120 if name == "old" else 0
        assert sizes == [501, 252, 600]
        assert (await hit(limiter, "more-999")).remaining == 1


class TestLimitByAddress:
    async def test_refuses_with_a_problem_and_retry_after(self, clock: Clock) -> None:
        async with client() as api:
            responses = [await api.get("/widgets") for _ in range(6)]
            assert [each.status_code for each in responses] == [200] * 5 + [429]
            left = [MEMBER.fullmatch(each.headers["ratelimit"]) for each in responses]
            assert [int(each[3]) for each in left if each] == [4, 3, 2, 1, 0, 0]
            policies = [each.headers.get("ratelimit-policy") for each in responses]
            assert policies == [None] * 5 + ['"general-address";q=5;w=60']
            problem = responses[-1].json()
            assert problem["code"] == "too_many_requests"
            assert "policy" not in problem  # which is for the log
            clock.now += int(responses[-1].headers["retry-after"])
            assert (await api.get("/widgets")).status_code == 200

    async def test_counts_clients_without_address_as_one(self, clock: Clock) -> None:
        async with client(None) as api:
            statuses = [(await api.get("/widgets")).status_code for _ in range(6)]
        assert statuses == [200] * 5 + [429]

    async def test_does_nothing_if_switched_off(self) -> None:
        async with client(settings=LIMITS.model_copy(update={"enabled": False})) as api:
            responses = [await api.get("/widgets") for _ in range(9)]
        assert {each.status_code for each in responses} == {200}
        assert "ratelimit" not in responses[0].headers

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
    def test_counts_an_ipv6_network_as_one(self, first: str, second: str, *, same: bool) -> None:
        assert (network_of(first) == network_of(second)) is same


def client(
    address: str | None = "203.0.113.9", settings: RateLimitSettings = LIMITS
) -> AsyncClient:
    """A client of an application with one limited route."""
    app = FastAPI(middleware=middleware(HttpSettings()))
    add_exception_handlers(app)
    app.state.resources = SimpleNamespace(rate_limiter=RateLimiter(settings))

    @app.get("/widgets", dependencies=[RateLimitedByAddress])
    async def list_widgets() -> None: ...

    peer: Any = address and (address, 4321)
    return AsyncClient(transport=ASGITransport(app=app, client=peer), base_url="http://api")


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
    def test_are_structured_fields(self, given_quotas: list[Quota]) -> None:
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
