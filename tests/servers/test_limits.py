"""How fast a model is asked: limits a minute, calls in flight, several servers; results do not depend on it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import duckdb
import pytest
from dspy import lm15
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine
from support.village import ask, inputs_of, module_of

from evals.testing.openai_server import Fault, Loopback, failure
from pipeline.agents.agents import LLMAgents
from pipeline.agents.budget import Capped
from pipeline.config import build
from pipeline.simulation.loop import Simulation
from pipeline.simulation.world import create
from pipeline.store.writer import Store
from programs.calls.rate_limits import Bucket, Permit, RateLimiter, waiting_in_words
from programs.calls.server_health import DOUBLED, FAILURES, LEFT_OUT, Server
from programs.engines.rules.engine import RulesEngine
from programs.models import Model, connect

HELLO = lm15.Request(
    model="any", messages=(lm15.Message.user("x" * 300),), config=lm15.Config(max_tokens=900, temperature=0)
)
"""At most 1,000 tokens with its reply."""

ASKED = ("--llm", "gpt-4o-mini", "--seed", "3")
SMALL = ("--num-agents", "6", "--max-timesteps", "5", "--two-timescale", "2", *ASKED)


def said(tokens: int | None = None) -> lm15.Response:
    used = lm15.Usage(input_tokens=tokens, output_tokens=0) if tokens is not None else lm15.Usage()
    message = lm15.Message.assistant("40")
    return lm15.Response(id=None, model="any", message=message, finish_reason="stop", usage=used)


@dataclass
class Clock:
    """Time that passes when a test says so, in seconds."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


# -- buckets -------------------------------------------------------------------------------------------------------


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
def test_nobody_waits_longer_than_the_limit_asks(per_minute: int, requests: int) -> None:
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


# -- a gate --------------------------------------------------------------------------------------------------------


def closed() -> None:
    raise Capped("there is no entry just now")


def entered(gate: RateLimiter) -> Permit:
    """An entry that there has to be at once."""
    return gate.enter_now(HELLO, closed)


def leave(gate: RateLimiter, entry: Permit, outcome: lm15.Response | Exception) -> None:
    if isinstance(outcome, Exception):
        gate.leave(entry, outcome)
    else:
        entry.response = outcome
        gate.leave(entry, None)


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


def test_who_stops_waiting_has_taken_nothing() -> None:
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


def test_threads_and_event_loops_pass_the_same_gate() -> None:
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


# -- several servers -----------------------------------------------------------------------------------------------


def test_the_server_with_the_fewest_in_flight_is_asked_and_of_equals_the_one_that_rested_longest() -> None:
    gate = RateLimiter(("a", "b", "c"), 64)
    entries = [entered(gate) for _ in range(9)]
    assert [entry.server for entry in entries] == [0, 1, 2] * 3
    for entry in entries:
        if entry.server == 1:
            leave(gate, entry, said())
    assert [entered(gate).server for _ in range(3)] == [1, 1, 1]


def fail(gate: RateLimiter, server: int) -> lm15.LM15Error:
    """The next call to `server` fails, and those that go elsewhere are answered."""
    while (entry := entered(gate)).server != server:
        leave(gate, entry, said())
    error = lm15.TransportError("refused")
    leave(gate, entry, error)
    return error


def servers_asked(gate: RateLimiter) -> list[int]:
    """Where six calls go that are answered one by one."""
    asked = []
    for _ in range(6):
        entry = entered(gate)
        asked.append(entry.server)
        leave(gate, entry, said())
    return asked


def test_a_server_that_fails_is_left_out_and_let_in_by_a_probe_that_is_answered() -> None:
    clock = Clock()
    gate = RateLimiter(("a", "b"), 64, clock=clock)
    for _ in range(FAILURES - 1):
        fail(gate, 0)
    assert set(servers_asked(gate)) == {0, 1}, "an answer forgives"
    errors = [fail(gate, 0) for _ in range(FAILURES)]
    assert all(error.retry_after == 0 for error in errors), "another server may be asked at once"
    assert set(servers_asked(gate)) == {1}
    clock.now += LEFT_OUT
    probe = entered(gate)
    assert probe.server == 0
    assert [entered(gate).server for _ in range(3)] == [1, 1, 1], "one question is enough to find out"
    leave(gate, probe, lm15.ServerError("still down"))
    clock.now += LEFT_OUT
    assert entered(gate).server == 1, "twice as long after a failed probe"
    clock.now += LEFT_OUT
    probe = entered(gate)
    assert probe.server == 0
    leave(gate, probe, said())
    assert [entered(gate).server for _ in range(4)] == [0, 0, 0, 0], "it has the fewest in flight"


def test_calls_that_were_under_way_when_a_server_failed_count_once() -> None:
    gate = RateLimiter(("a", "b"), 64, clock=Clock())
    for entry in [entered(gate) for _ in range(60)]:
        leave(gate, entry, lm15.ServerError("down") if entry.server == 0 else said())
    assert gate.servers[0].ejections == 1


@given(probes=st.integers(1, 2000))
def test_no_server_is_left_out_for_much_longer_than_a_minute(probes: int) -> None:
    server, now = Server(4), 0.0
    for number in range(FAILURES + probes):
        server.failed(number, now)
        assert server.out_until <= now + LEFT_OUT * 2**DOUBLED
        now = max(now, server.out_until)


def test_the_last_server_is_never_left_out() -> None:
    clock = Clock()
    gate = RateLimiter(("a", "b"), 64, clock=clock)
    for server in (0, 1) * 2 * FAILURES:
        error = fail(gate, server) if gate.servers[server].up(0) else None
    assert error is None
    assert not any(server.up(0) for server in gate.servers)
    assert {entered(gate).server for _ in range(2)} == {0, 1}
    lonely = RateLimiter(("a",), 64, clock=clock)
    errors = [fail(lonely, 0) for _ in range(10)]
    assert all(error.retry_after is None for error in errors), "there is nobody else to be asked at once"


def test_a_server_that_says_when_to_come_back_is_left_alone_until_then() -> None:
    clock = Clock()
    gate = RateLimiter(("a", "b"), 64, clock=clock)
    error = lm15.RateLimitError("later", retry_after=20.0)
    leave(gate, entered(gate), error)
    assert error.retry_after == 0, "the other one is free"
    clock.now += 19
    assert set(servers_asked(gate)) == {1}
    clock.now += 1
    assert set(servers_asked(gate)) == {0, 1}


def test_models_share_a_gate_by_name_server_and_limits() -> None:
    here, there = "http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1"

    def gate(name: str = "llama", base_url: str = here, **settings: Any) -> RateLimiter:
        lm = connect(Model(name, base_url=base_url, **settings))
        assert lm.engine.limiter is lm.engine.asynchronous.limiter
        return lm.engine.limiter  # type: ignore[no-any-return]

    assert gate(rpm=5) is gate(rpm=5, temperature=0.1, max_tokens=7)
    others = [
        gate(rpm=5),
        gate(rpm=6),
        gate(rpm=5, base_url=there),
        gate("qwen", rpm=5),
        gate(base_url=f"{here},{there}"),
    ]
    assert len(set(map(id, others))) == len(others)
    assert others[-1].names == (here, there)


def test_what_is_computed_here_has_no_gate() -> None:
    for lm in (connect(Model("rules", rpm=1, tpm=1)), connect(Model("gpt-4o-mini", offline=True, rpm=1))):
        assert lm.engine.limiter is lm.engine.asynchronous.limiter is None
    for sync in (True, False):
        for _ in range(3):
            lm = connect(Model("rules", rpm=1))
            assert ask(module_of("ChooseLabor"), inputs_of("ChooseLabor"), lm=lm, sync=sync).labor >= 0


# -- a run on servers ----------------------------------------------------------------------------------------------


def on(*servers: Loopback) -> tuple[str, str]:
    return "--base-url", ",".join(server.url for server in servers)


TABLES = ("decisions", "years", "agents", "votes", "platforms")


def stored(query: str, db: str = "a.duckdb") -> list[tuple[Any, ...]]:
    with duckdb.connect(db, read_only=True) as connection:
        return connection.execute(query).fetchall()


def played(cli: CommandLine, *args: str, db: str = "a.duckdb") -> list[list[tuple[Any, ...]]]:
    """Every row of a run that has to end well, without the numbers of calls, which count failed attempts."""
    result = cli("run", *SMALL, *args, "--db", db)
    assert result.code == 0, result.err
    return [stored(f"SELECT COLUMNS(lambda c: c <> 'call_id') FROM {name} ORDER BY ALL", db) for name in TABLES]


def first(n: int, reply: Callable[[], Any]) -> Fault:
    return lambda number, body: reply() if number < n else None


@pytest.mark.slow
def test_a_run_has_the_same_rows_whatever_limits_and_servers_it_has(cli: CommandLine) -> None:
    with Loopback() as one, Loopback() as other, Loopback(fault=lambda n, body: failure(500, "down")) as broken:
        plain = played(cli, *on(one), db="plain.duckdb")
        assert played(cli, *on(one), "--rpm", "30000", "--tpm", "9000000", db="limits.duckdb") == plain
        other.requests.clear()
        assert played(cli, *on(one, other, broken), "--concurrency", "3", db="servers.duckdb") == plain
        assert len(other.requests) > 5
        assert len(broken.requests) >= FAILURES
    failed = stored("SELECT count(*) FROM lm_calls WHERE status = 'server_error'", "servers.duckdb")
    assert FAILURES <= failed[0][0] <= len(broken.requests), "tries without a part are no rows"


def keeps_to(rpm: int, arrivals: list[float]) -> bool:
    """Whether no stretch of time saw more than the limit, and all together took no less than they had to."""
    size, rate = rpm / 60, (rpm + 1 - rpm / 60) / 60
    late = 0.5  # seconds that this machine may take from sending to arrival
    for seconds in (0.5, 1.0):
        most = max(sum(start <= at < start + seconds for at in arrivals) for start in arrivals)
        if most > size + rate * (seconds + late):
            return False
    return max(arrivals) - min(arrivals) >= (len(arrivals) - size) / rate - late


def test_a_server_gets_no_more_requests_than_the_limit_allows(cli: CommandLine) -> None:
    with Loopback() as server:
        played(cli, *on(server), "--rpm", "900")
    assert len(server.arrivals) > 30
    assert keeps_to(900, server.arrivals)


@pytest.mark.slow
def test_waiting_for_a_limit_does_not_count_against_the_timeout(cli: CommandLine) -> None:
    with Loopback() as server:
        args = ("--rpm", "900", "--timeout", "1", "--num-agents", "36", "--max-timesteps", "1")
        played(cli, *on(server), *args)
    assert max(server.arrivals) - server.arrivals[1] > 1, "some waited longer than that"
    assert stored("SELECT DISTINCT status FROM lm_calls") == [("ok",)]
    assert stored("SELECT max(latency_ms) < 1000 FROM lm_calls") == [(True,)], "nor is it latency"


@pytest.mark.slow
def test_a_server_that_refuses_has_half_as_many_to_answer_and_more_again_later(cli: CommandLine) -> None:
    def busy(number: int, body: dict[str, Any]) -> Any:
        return failure(429, "slow down", retry_after=0.01) if number == 5 else None

    args = ("--num-agents", "16", "--concurrency", "16", "--max-timesteps", "7", "--planner-type", "US_FED")
    with Loopback(fault=busy, latency=0.15) as server:
        played(cli, *on(server), *args)
    years = [server.at_once[2 + 16 * year :][:16] for year in range(7)]
    assert max(server.at_once[1:17]) > 9
    assert max(years[1][:8]) <= 8
    assert max(years[1]) <= 9
    assert max(years[-1]) > 9


@pytest.mark.slow
def test_a_server_that_failed_is_asked_again_once_it_works(cli: CommandLine) -> None:
    """It is left out for a second; the other one alone needs two for this run."""
    slow = ("--concurrency", "2", "--max-timesteps", "14")
    with Loopback(latency=0.05) as good, Loopback(fault=first(FAILURES, lambda: failure(503, "starting"))) as late:
        played(cli, *on(late, good), *slow)
    assert stored("SELECT status, count(*) FROM lm_calls WHERE status <> 'ok' GROUP BY ALL") == [
        ("server_error", FAILURES)
    ]
    assert len(late.requests) > 2 * FAILURES
    assert len(good.requests) > 6
    assert stored("SELECT count(*) FROM decisions WHERE fallback") == [(0,)]
    log = next(text for text in cli.every_file() if "is left out for" in text)
    assert f"server {late.url} failed and is left out for 1 s" in log
    assert f"server {late.url} answers again" in log


def test_servers_that_nobody_can_reach_stop_nothing_while_there_is_one_that_works(cli: CommandLine) -> None:
    with Loopback() as good:
        gone = ("--base-url", f"http://127.0.0.1:9/v1,http://127.0.0.1:10/v1,{good.url}")
        played(cli, *gone)
        assert cli("doctor", "--llm", "gpt-4o-mini", *gone).code == 0
    assert stored("SELECT count(*) FROM decisions WHERE fallback") == [(0,)]


@pytest.mark.slow
def test_a_reply_that_never_comes_holds_up_the_year_no_longer_than_its_attempts_and_is_recorded() -> None:
    """Worker 0 never gets an answer; the other workers' are all there before its first attempt is given up."""
    settings = {"num_agents": 4, "max_timesteps": 1, "llm": "gpt-4o-mini", "planner_type": "US_FED", "db": "a.duckdb"}
    wage = create(build(settings)).population.wage[0]

    def deaf(number: int, body: dict[str, Any]) -> Any:
        about = " ".join(message["content"] for message in body["messages"])
        return failure(500, "never", delay=3600) if f"${wage:.2f} an hour" in about else None

    with Loopback(fault=deaf) as server:
        config = build({**settings, "base_url": server.url, "timeout": 1})
        llm_agents = LLMAgents(config, "gpt-4o-mini")
        llm_agents.lms = {name: lm.copy(num_retries=1) for name, lm in llm_agents.lms.items()}
        with Store(config.db) as store:
            simulation = Simulation(config, store, llm_agents)
            asyncio.run(simulation.play())
            rows = store.rows("SELECT year, agent, fallback FROM decisions ORDER BY year, agent", [])
            calls = store.rows("SELECT year, status, count(*) AS n FROM lm_calls WHERE agent = 0 GROUP BY ALL", [])
            others = store.rows("SELECT max(started_at) AS last FROM lm_calls WHERE agent > 0 AND year = 0", [])
            given_up = store.rows("SELECT min(started_at) AS first FROM lm_calls WHERE agent = 0 AND attempt = 1", [])
    assert [row["fallback"] for row in rows] == [True, False, False, False]
    assert sorted((row["year"], row["status"], row["n"]) for row in calls) == [(0, "timeout", 2)]
    assert others[0]["last"] < given_up[0]["first"]


def test_optimize_keeps_the_limit_in_its_threads(cli: CommandLine) -> None:
    with Loopback() as server:
        result = cli(*STUDY, *ASKED, *on(server), "--rpm", "900", "--concurrency", "8", "--db", "a.duckdb")
    assert result.code == 0, result.err
    assert len(server.arrivals) > 18
    assert keeps_to(900, server.arrivals)


@contextmanager
def interrupt_at_the_first_wait() -> Iterator[None]:
    """Ctrl-C for this process as soon as a call waits for a limit."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            if waiting_in_words():
                over.wait(0.2)
                return os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


STUDY = ("optimize", "worker", "--optimizer", "bootstrap", "--sizes", "4,4,4", "--demos", "2", "--budget", "60")


@pytest.mark.parametrize("command", [("run",), STUDY], ids=["run", "optimize"])
def test_ctrl_c_ends_a_wait_for_a_limit_at_once(cli: CommandLine, command: tuple[str, ...]) -> None:
    """One request a minute: after the first there is nothing but waiting."""
    with Loopback() as server, interrupt_at_the_first_wait():
        began = time.monotonic()
        result = cli(*command, *ASKED, *on(server), "--rpm", "1", "--db", "a.duckdb")
    assert time.monotonic() - began < 50, "a minute is what waiting would have taken"
    assert result.code == 130, result.err
    assert len(server.requests) == 1
    assert waiting_in_words() == ""


def test_who_waits_for_a_limit_is_told_of() -> None:
    async def scene() -> None:
        lm = connect(Model("told", base_url="http://127.0.0.1:9/v1", rpm=1))
        gate = lm.engine.limiter
        leave(gate, await gate.enter(HELLO), said())
        waiting = asyncio.ensure_future(gate.enter(HELLO))
        await asyncio.sleep(0.01)
        assert waiting_in_words() == "waiting for --rpm"
        waiting.cancel()

    asyncio.run(scene())
    assert waiting_in_words() == ""


class Own(RulesEngine):
    """An engine of a user's."""


def test_an_engine_of_ones_own_keeps_to_limits_too() -> None:
    name = f"engine:{__name__}:Own"
    assert connect(Model(name)).engine.limiter is None
    lm = connect(Model(name, rpm=1))
    assert ask(module_of("ChooseLabor"), inputs_of("ChooseLabor"), lm=lm).labor >= 0
    assert 50 < lm.engine.limiter.rpm.wait() <= 60


# -- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["http://127.0.0.1:9/v1,nonsense", "http://a/v1,me:secret@b/v1", ","])
def test_each_of_several_addresses_has_to_be_one(cli: CommandLine, bad: str) -> None:
    result = cli("run", *ASKED, "--base-url", bad)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "--base-url" in result.err
    assert "secret" not in result.err


def test_credentials_of_every_server_stay_unsaid(cli: CommandLine) -> None:
    def urls(user: str = "") -> str:
        return ",".join(f"http://{user}127.0.0.1:9/v1?key=canary{i}" for i in range(3))

    assert build({"base_url": urls("me:canary@")}).public()["base_url"] == ",".join(["http://127.0.0.1:9/v1"] * 3)
    result = cli("run", *SMALL, "--base-url", urls())
    assert result.code == 1
    for text in (result.out, result.err, *cli.every_file()):
        assert "canary" not in text


def test_a_dry_run_takes_as_long_as_the_limits_ask(cli: CommandLine) -> None:
    def seconds(*args: str) -> list[float]:
        result = cli("run", *SMALL, *args, "--planner-type", "US_FED", "--dry-run", "--json", "--latency", "1")
        said: dict[str, Any] = json.loads(result.out)
        return list(said["wall_seconds"])

    assert seconds() == [6.0, 6.0]
    assert seconds("--rpm", "2") == [31 / 2 * 60] * 2
    assert seconds("--rpm", "100000") == [6.0, 6.0]
    low, high = seconds("--tpm", "1000")
    assert 6.0 < low < high
    assert seconds("--rpm", "2", "--llm", "rules") == [5.0, 5.0], "rules are asked nowhere"
    told = cli("run", *SMALL, "--rpm", "60", "--dry-run").out
    assert "--rpm 60" in told


def test_a_run_goes_on_under_other_limits(cli: CommandLine) -> None:
    with Loopback() as server:
        args = ("--max-tokens", "7000", "--rpm", "30000")
        assert cli("run", *SMALL, *on(server), *args, "--db", "a.duckdb").code == 0
        went_on = ("--tpm", "9000000", "--rpm", "60000", "--max-tokens", "10000000")
        result = cli("resume", "1", *went_on, "--db", "a.duckdb")
    assert result.code == 0, result.err
    assert stored("SELECT status FROM runs") == [("finished",)]
