"""Killed at any moment, resumed to the same end: real processes, real `kill -9`, at random instants."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from evals.loopback import Loopback

TABLES = ("decisions", "years", "votes", "platforms", "agents", "personas", "programs")
SMALL = ("--num-agents", "4", "--max-timesteps", "16", "--two-timescale", "4")
SCENARIOS = ("rational", "bounded", "democratic --platforms --election-rule borda")
ARCHETYPES = "bounded --archetypes 2"
RECENT = 0.5
"""Seconds before a kill within which a reply may not have reached the disk yet, on a busy machine."""


class Program:
    """The program in processes that are forked from one that has imported everything."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "forks.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def run(self, *args: str, kill_after: float | None = None) -> int:
        """The exit code, or -9 if it was killed; with `kill_after` it is killed after so many seconds."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps({"folder": os.getcwd(), "args": args}) + "\n")
        self.server.stdin.flush()
        pid = int(self.server.stdout.readline())
        if kill_after is not None:
            with suppress(ProcessLookupError):  # it was faster
                deadline = time.monotonic() + kill_after
                while time.monotonic() < deadline:
                    os.kill(pid, 0)
                    time.sleep(0.002)
                os.kill(pid, 9)
        status = int(self.server.stdout.readline())
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        assert self.server.stdin is not None
        with self.server:
            self.server.stdin.close()


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    program = Program()
    yield program
    program.close()


def rows(db: str) -> dict[str, list[tuple]]:
    with duckdb.connect(db, read_only=True) as connection:
        found = {name: connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in TABLES}
        calls = "SELECT * EXCLUDE (latency_ms, started_at) FROM lm_calls WHERE signature <> 'Preflight' ORDER BY ALL"
        found["lm_calls"] = connection.execute(calls).fetchall()
    return found


def started(db: str) -> bool:
    """Whether a run is in the file yet."""
    if not Path(db).exists():
        return False
    with duckdb.connect(db, read_only=True) as connection:
        known = connection.execute("SELECT count(*) FROM information_schema.tables WHERE table_name = 'runs'")
        return known.fetchall() == [(1,)] and connection.execute("SELECT count(*) FROM runs").fetchall() == [(1,)]


def survive(
    program: Program, args: tuple[str, ...], db: str, kills: int, rng: random.Random, span: float
) -> list[float]:
    """Play a run, killed `kills` times and resumed as often; the instants of the kills."""
    instants = []
    for _ in range(kills):
        again = ("resume", "1", "--db", db) if started(db) else (*args, "--db", db)
        if program.run(*again, kill_after=rng.uniform(0, span)) == -9:
            instants.append(time.monotonic())
        elif finished(db):
            break
    if not started(db):
        assert program.run(*args, "--db", db) == 0
    elif not finished(db):
        assert program.run("resume", "1", "--db", db) == 0, Path("out.log").read_text()[-500:]
    return instants


def finished(db: str) -> bool:
    if not started(db):
        return False
    with duckdb.connect(db, read_only=True) as connection:
        return connection.execute("SELECT status FROM runs").fetchall() == [("finished",)]


def check_rules(program: Program, scenario: str, kills: int, seed: int) -> int:
    args = ("run", "--scenario", *scenario.split(), *SMALL, "--llm", "rules")
    begun = time.monotonic()
    assert program.run(*args, "--db", "rules.duckdb") == 0
    span, total, trial = time.monotonic() - begun, 0, 0
    whole, rng = rows("rules.duckdb"), random.Random(seed)
    while total < kills:
        db = f"rules{trial}.duckdb"
        killed = len(survive(program, args, db, kills - total, rng, span))
        assert rows(db) == whole, f"seed {seed}, trial {trial}"
        # The first run may have been slowed by others: aim earlier where nothing was left to kill.
        total, trial, span = total + killed, trial + 1, span if killed else span * 0.6
    return total


def check_server(program: Program, scenario: str, kills: int, seed: int) -> int:
    total, trial, rng = 0, 0, random.Random(seed)
    with Loopback(latency=0.002) as server:
        args = ("run", "--scenario", *scenario.split(), *SMALL, "--llm", "gpt-4o-mini", "--concurrency", "4")
        args += ("--base-url", server.url)
        begun = time.monotonic()
        assert program.run(*args, "--db", "server.duckdb") == 0
        span, whole = time.monotonic() - begun, rows("server.duckdb")
        while total < kills:
            asked: list[tuple[float, str]] = []

            def note(number, body, asked=asked):
                asked.append((time.monotonic(), json.dumps(body, sort_keys=True)))

            server.fault = note
            db = f"server{trial}.duckdb"
            instants = survive(program, args, db, kills - total, rng, span)
            assert rows(db) == whole, f"seed {seed}, trial {trial}"
            assert paid_twice(asked, instants) == []
            total, trial, span = total + len(instants), trial + 1, span if instants else span * 0.6
    return total


def paid_twice(asked: list[tuple[float, str]], kills: list[float]) -> list[str]:
    """Requests that were made again although the first was answered well before the next kill."""
    first: dict[str, float] = {}
    again = []
    for when, body in asked:
        if "Reply with the word OK" in body:
            continue  # the preflight of each process
        before = first.get(body)
        if before is not None and not any(before <= kill <= before + RECENT for kill in kills):
            again.append(body)
        first[body] = when
    return again


@pytest.mark.parametrize("scenario", [*SCENARIOS, ARCHETYPES])
def test_a_killed_run_resumes_to_the_same_end(program, scenario):
    assert check_rules(program, scenario, kills=10, seed=1) == 10


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_reply_of_a_server_is_paid_for_twice(program, scenario):
    assert check_server(program, scenario, kills=8, seed=2) == 8


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_three_hundred_kills(program, scenario):
    assert check_rules(program, scenario, kills=50, seed=3) == 50
    assert check_server(program, scenario, kills=50, seed=4) == 50


def test_a_run_that_was_killed_after_its_last_year_only_has_to_be_closed(cli):
    cli("run", *SMALL, "--llm", "rules", "--db", "a.duckdb")
    with duckdb.connect("a.duckdb") as connection:
        connection.execute("UPDATE runs SET status = 'running', finished_at = NULL")
    assert "it is finished now" in cli("resume", "1", "--db", "a.duckdb").out
    assert finished("a.duckdb")


def test_a_replay_finds_a_row_that_was_changed(cli):
    cli("run", *SMALL, "--llm", "rules", "--db", "a.duckdb")
    assert "every row is the same" in cli("replay", "1", "--db", "a.duckdb").out
    with duckdb.connect("a.duckdb") as connection:
        connection.execute("UPDATE decisions SET labor = labor + 1 WHERE year = 9 AND agent = 2")
    changed = cli("replay", "1", "--db", "a.duckdb")
    assert changed.code == 1
    assert "decisions of run 1, year 9, agent 2: labor is" in changed.err


def test_a_replay_needs_every_reply(cli):
    cli("run", *SMALL, "--llm", "rules", "--db", "a.duckdb")
    with duckdb.connect("a.duckdb") as connection:
        connection.execute("DELETE FROM lm_calls WHERE year = 5 AND agent = 1")
    gap = cli("replay", "1", "--db", "a.duckdb")
    assert gap.code == 1
    assert "no stored reply" in gap.err


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("strategy", ["io", "cot"])
def test_every_scenario_replays_without_a_server_or_a_key(cli, scenario, strategy):
    with Loopback() as server:
        args = ("--scenario", *scenario.split(), "--prompt-algo", strategy, "--llm", "gpt-4o-mini")
        cli("run", *args, *SMALL, "--base-url", server.url, "--db", "a.duckdb")
    assert cli("replay", "1", "--db", "a.duckdb").code == 0


def test_a_fork_shares_the_past_and_pays_for_the_rest(cli):
    with Loopback() as server:
        args = (*SMALL, "--llm", "gpt-4o-mini", "--base-url", server.url)
        cli("run", *args, "--db", "a.duckdb")
        before = len(server.requests)
        forked = cli("fork", "1", "--at", "8", "--planner-type", "ORACLE", "--db", "a.duckdb")
        assert forked.code == 0, forked.err
        assert 0 < len(server.requests) - before <= 4 * 8 + 1
    assert "Both branches from year 8 on" in forked.out
    (run,) = cli.sql("select parent_run_id, fork_year, planner_type from runs where run_id = 2", "a.duckdb")
    assert run == {"parent_run_id": 1, "fork_year": 8, "planner_type": "ORACLE"}
    columns = "* exclude (run_id)"
    for table in ("decisions", "years"):
        past = [
            cli.sql(f"select {columns} from {table} where run_id = {r} and year < 8 order by all", "a.duckdb")
            for r in (1, 2)
        ]
        assert past[0] == past[1]
    assert cli.sql("select count(*) n from lm_calls where run_id = 2 and year < 8", "a.duckdb") == [{"n": 0}]
    (year,) = cli.sql("select count(distinct rates) n from years where run_id = 2 and year >= 8", "a.duckdb")
    assert year["n"] == 1
    assert cli("replay", "2", "--db", "a.duckdb").code == 0


def test_an_unchanged_fork_uses_stored_replies_and_comes_to_the_same_end(cli):
    with Loopback() as server:
        cli("run", *SMALL, "--llm", "gpt-4o-mini", "--base-url", server.url, "--db", "a.duckdb")
        before = len(server.requests)
        assert cli("fork", "1", "--at", "4", "--db", "a.duckdb").code == 0
        assert len(server.requests) - before == 1  # the preflight
    columns = "* exclude (run_id)"
    for table in ("decisions", "years"):
        both = [cli.sql(f"select {columns} from {table} where run_id = {r} order by all", "a.duckdb") for r in (1, 2)]
        assert both[0] == both[1]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("resume", "1"), 2, "nothing to resume"),
        (("resume", "7"), 2, "no run '7'"),
        (("resume", "x.y"), 2, "no run 'x.y'"),
        (("replay", "7"), 2, "no run '7'"),
        (("fork", "1", "--at", "0"), 2, "fork at one of 1 to 16"),
        (("fork", "1", "--at", "17"), 2, "fork at one of 1 to 16"),
        (("fork", "1", "--at", "4", "--scenario", "bounded"), 2, "--scenario can't change in a fork"),
        (("fork", "1", "--at", "4", "--strategy", "worker=nope"), 2, "unknown strategy"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_go_on_is_one_line(cli, args, code, words):
    cli("run", *SMALL, "--llm", "rules", "--db", "a.duckdb")
    before = rows("a.duckdb")
    result = cli(*args, "--db", "a.duckdb")
    assert result.code == code
    assert words in result.err
    assert result.err.strip().count("\n") == 0
    assert rows("a.duckdb") == before


def test_new_brackets_in_a_fork_start_with_the_rates_of_the_old_law(cli):
    cli("run", *SMALL, "--llm", "rules", "--db", "a.duckdb")
    assert cli("fork", "1", "--at", "5", "--bracket-setting", "US_FED", "--db", "a.duckdb").code == 0
    (year,) = cli.sql("select rates, thresholds from years where run_id = 2 and year = 5", "a.duckdb")
    assert len(year["rates"]) == len(year["thresholds"]) == 7
    assert cli("replay", "2", "--db", "a.duckdb").code == 0
