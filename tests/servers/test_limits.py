"""How fast a model is asked: limits a minute, calls in flight, several servers; results do not depend on it."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from dspy import lm15
from hypothesis import given
from hypothesis import strategies as st
from support.models.limited_servers import HELLO, Clock, entered, leave, said

from pipeline.agents.budget import Capped
from programs.calls.rate_limits import Bucket, RateLimiter


@dataclass
class Taker:
    """Takes from a bucket as soon as it may, and keeps when it took how much."""

    per_minute: int
    clock: Clock = field(default_factory=Clock)
    taken: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bucket = Bucket(self.per_minute, self.clock)

    def take(self, amount: float = 1.0) -> None:
        self.clock.now += self.bucket.wait(amount)
        assert self.bucket.wait(amount) == 0, "who has waited as long as was said need not wait again"
        self.bucket.take(amount)
        self.taken.append((self.clock.now, amount))

    def most_within(self, seconds: float) -> float:
        """The most that was taken within so many seconds."""
        starts = [at for at, _ in self.taken]
        return max(sum(n for at, n in self.taken if start <= at < start + seconds) for start in starts)


PAUSES = st.lists(st.one_of(st.just(0.0), st.floats(0, 200)), min_size=1, max_size=150)


@given(per_minute=st.integers(1, 2000), pauses=PAUSES)
def test_no_minute_ever_has_more_requests_than_allowed(per_minute: int, pauses: list[float]) -> None:
    taker = Taker(per_minute)
    for pause in pauses:
        taker.clock.now += pause
        taker.take()
    assert taker.most_within(59.999) <= per_minute


@given(
    per_minute=st.integers(1, 1_000_000),
    asked=st.lists(st.tuples(st.floats(0, 90), st.integers(1, 100_000)), min_size=1, max_size=60),
)
def test_no_minute_has_more_tokens_than_allowed_but_for_one_request(
    per_minute: int, asked: list[tuple[float, int]]
) -> None:
    taker = Taker(per_minute)
    for pause, tokens in asked:
        taker.clock.now += pause
        taker.take(tokens)
    assert taker.most_within(59.999) <= per_minute + 1 + max(tokens for _, tokens in asked)


@given(per_minute=st.integers(1, 2000), requests=st.integers(2, 300))
def test_no_request_waits_longer_than_the_limit_requires(per_minute: int, requests: int) -> None:
    taker = Taker(per_minute)
    for _ in range(requests):
        taker.take()
    size = max(1.0, per_minute / 60)
    assert taker.clock.now <= max(0.0, requests - size) * 60 / per_minute / (59 / 60) + 1e-3


@given(per_minute=st.integers(60, 100_000), reserved=st.floats(1, 5000), took=st.floats(0, 5000))
def test_what_was_not_needed_is_there_for_the_next_and_what_was_needed_beyond_is_not(
    per_minute: int, reserved: float, took: float
) -> None:
    settled, exact = Bucket(per_minute, Clock()), Bucket(per_minute, Clock())
    settled.take(reserved)
    settled.give_back(reserved - took)
    exact.take(took)
    assert settled.wait(100) == pytest.approx(exact.wait(100), abs=1e-6)


def test_a_full_bucket_holds_no_more_whatever_is_given_back() -> None:
    bucket = Bucket(600, Clock())
    bucket.give_back(1000)
    for _ in range(10):
        assert bucket.wait() == 0
        bucket.take()
    assert bucket.wait() > 0


def answer_round(gate: RateLimiter) -> int:
    """As many entries as there are, all answered; how many there were."""
    entries = []
    with suppress(Capped):
        while True:
            entries.append(entered(gate))
    for entry in entries:
        leave(gate, entry, said())
    return len(entries)


def test_a_refusal_for_too_many_halves_what_is_allowed_once_and_each_round_of_answers_gives_one_back() -> None:
    gate = RateLimiter(("one",), 16)
    entries = [entered(gate) for _ in range(16)]
    with pytest.raises(Capped):
        entered(gate)
    for entry in entries[:10]:
        leave(gate, entry, lm15.RateLimitError("slow down", retry_after=0.0))
    assert gate.servers[0].allowed == 8, "those ten met the same crowd"
    for entry in entries[10:]:
        leave(gate, entry, said())
    rounds = [answer_round(gate) for _ in range(30)]
    assert rounds[0] == 8
    assert all(0 <= after - before <= 1 for before, after in pairwise(rounds))
    assert rounds[-1] == 16


def test_however_often_it_refuses_one_call_may_be_in_flight() -> None:
    gate = RateLimiter(("one",), 64)
    for _ in range(20):
        leave(gate, entered(gate), lm15.RateLimitError("slow down"))
    assert answer_round(gate) == 1


def test_tokens_are_reserved_at_their_worst_and_settled_by_what_was_taken() -> None:
    clock = Clock()
    gate = RateLimiter(("one",), 64, tpm=60_000, clock=clock)  # 1,000 a second, as much as one request may take
    first = entered(gate)
    with pytest.raises(Capped):
        entered(gate)
    leave(gate, first, said(tokens=100))
    clock.now += 0.05
    second = entered(gate)
    assert second.reserved < first.reserved == pytest.approx(1000), "what replies take is learned"
    leave(gate, second, lm15.ServerError("oops"))  # took nothing
    third = entered(gate)
    leave(gate, third, lm15.TimeoutError("late"))  # may have been billed
    with pytest.raises(Capped):
        entered(gate)


def test_calls_wait_in_the_order_in_which_they_came() -> None:
    order: list[int] = []

    async def one(gate: RateLimiter, number: int) -> None:
        with await gate.enter(HELLO) as entry:
            order.append(number)
            await asyncio.sleep(0)
            entry.response = said()

    async def all_of_them() -> None:
        gate = RateLimiter(("one",), 2)
        await asyncio.gather(*(one(gate, number) for number in range(50)))

    asyncio.run(all_of_them())
    assert order == list(range(50))


def test_a_cancelled_wait_takes_nothing() -> None:
    async def scene() -> None:
        gate = RateLimiter(("one",), 1)
        first = await gate.enter(HELLO)
        second, third = asyncio.ensure_future(gate.enter(HELLO)), asyncio.ensure_future(gate.enter(HELLO))
        await asyncio.sleep(0.01)
        assert gate.waiting == 2
        second.cancel()
        leave(gate, first, said())
        leave(gate, await asyncio.wait_for(third, 5), said())
        assert (gate.waiting, gate.servers[0].in_flight) == (0, 0)

    asyncio.run(scene())


def test_threads_and_event_loops_share_the_same_limiter() -> None:
    gate, most, inside, lock = RateLimiter(("one",), 3), 0, 0, threading.Lock()

    def note(change: int) -> None:
        nonlocal most, inside
        with lock:
            inside += change
            most = max(most, inside)

    async def some() -> None:
        async def one() -> None:
            with await gate.enter(HELLO) as entry:
                note(1)
                await asyncio.sleep(0.002)
                note(-1)
                entry.response = said()

        await asyncio.gather(*(one() for _ in range(20)))

    def thread() -> None:
        for _ in range(10):
            with gate.enter_now(HELLO) as entry:
                note(1)
                time.sleep(0.002)
                note(-1)
                entry.response = said()

    threads = [threading.Thread(target=target) for target in (thread, thread, lambda: asyncio.run(some()))]
    for each in threads:
        each.start()
    asyncio.run(some())
    for each in threads:
        each.join(20)
    assert most == 3
    assert (gate.waiting, gate.servers[0].in_flight) == (0, 0)


def test_a_thread_that_is_not_wanted_any_more_stops_waiting() -> None:
    gate, wanted = RateLimiter(("one",), 1), iter([None, None])

    def check() -> None:
        if next(wanted, "no") is not None:
            raise Capped("it is over")

    with gate.enter_now(HELLO), pytest.raises(Capped):
        gate.enter_now(HELLO, check)
    assert (gate.waiting, gate.servers[0].in_flight) == (0, 0)
