"""Whole runs under rate limits and on failing servers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pytest
from support.command_line import CommandLine
from support.models.limited_servers import HELLO, first, leave, said
from support.village import ask, inputs_of, module_of

from evals.testing.openai_server import Loopback, failure
from pipeline.agents.agents import LLMAgents
from pipeline.config import build
from pipeline.simulation.loop import Simulation
from pipeline.simulation.world import create
from pipeline.store.writer import Store
from programs.calls.rate_limits import waiting_in_words
from programs.calls.server_health import FAILURES
from programs.engines.rules.engine import RulesEngine
from programs.models import Model, connect

ASKED = ("--llm", "gpt-4o-mini", "--seed", "3")


SMALL = ("--num-agents", "6", "--max-timesteps", "5", "--two-timescale", "2", *ASKED)


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


def test_unreachable_servers_stop_nothing_while_one_works(cli: CommandLine) -> None:
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


def test_the_progress_line_says_which_limit_calls_wait_for() -> None:
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


def test_a_users_engine_respects_limits_too() -> None:
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


def test_a_run_resumes_under_other_limits(cli: CommandLine) -> None:
    with Loopback() as server:
        args = ("--max-tokens", "7000", "--rpm", "30000")
        assert cli("run", *SMALL, *on(server), *args, "--db", "a.duckdb").code == 0
        went_on = ("--tpm", "9000000", "--rpm", "60000", "--max-tokens", "10000000")
        result = cli("resume", "1", *went_on, "--db", "a.duckdb")
    assert result.code == 0, result.err
    assert stored("SELECT status FROM runs") == [("finished",)]
