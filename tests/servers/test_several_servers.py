"""Several servers of one model: which one is asked, and which one is excluded."""

from __future__ import annotations

from typing import Any

from dspy import lm15
from hypothesis import given
from hypothesis import strategies as st
from support.models.limited_servers import Clock, entered, leave, said
from support.village import ask, inputs_of, module_of

from programs.calls.rate_limits import RateLimiter
from programs.calls.server_health import DOUBLED, FAILURES, LEFT_OUT, Server
from programs.models import Model, connect


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


def test_a_failing_server_is_excluded_until_a_probe_is_answered() -> None:
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
def test_no_server_is_excluded_for_much_longer_than_a_minute(probes: int) -> None:
    server, now = Server(4), 0.0
    for number in range(FAILURES + probes):
        server.failed(number, now)
        assert server.out_until <= now + LEFT_OUT * 2**DOUBLED
        now = max(now, server.out_until)


def test_the_last_server_is_never_excluded() -> None:
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


def test_a_server_that_names_a_time_is_not_asked_until_then() -> None:
    clock = Clock()
    gate = RateLimiter(("a", "b"), 64, clock=clock)
    error = lm15.RateLimitError("later", retry_after=20.0)
    leave(gate, entered(gate), error)
    assert error.retry_after == 0, "the other one is free"
    clock.now += 19
    assert set(servers_asked(gate)) == {1}
    clock.now += 1
    assert set(servers_asked(gate)) == {0, 1}


def test_models_with_the_same_name_servers_and_limits_share_a_limiter() -> None:
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


def test_models_in_this_process_have_no_limiter() -> None:
    for lm in (connect(Model("rules", rpm=1, tpm=1)), connect(Model("gpt-4o-mini", offline=True, rpm=1))):
        assert lm.engine.limiter is lm.engine.asynchronous.limiter is None
    for sync in (True, False):
        for _ in range(3):
            lm = connect(Model("rules", rpm=1))
            assert ask(module_of("ChooseLabor"), inputs_of("ChooseLabor"), lm=lm, sync=sync).labor >= 0
