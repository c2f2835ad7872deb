"""Every command that writes, killed at any moment and given again, comes to the end that it has undisturbed.

Real processes and real signals, at random (seeded) instants. A scenario is one entry in `SCENARIOS`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest
from support.runs.paid_twice import paid_twice

from evals.testing.openai_server import Loopback
from pipeline.store.call_rows import RUN_STRIDE
from programs.strategies.registry import STRATEGIES

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SHORTEST = 0.005
"""Seconds: no command ends in less."""
PATIENCE = 20.0
"""Seconds after which a process that was told to end counts as one that hangs, on a busy machine."""


@dataclass(frozen=True)
class Scenario:
    """A command that writes, and how often it is killed in the slow suite.

    `before`: commands that make what it starts from. `resumed`: `resume` continues it once its run is stored, else the
    same command does; `again`: flags that `resume` must be given. `makes_run`: it makes a new run each time that it is
    given after its end. `served`: a server on this machine answers instead of `rules`. `done`: the exit code of a
    command that is given again although it had come to its end. `asks_anew`: each time that it is given is a new
    question, as docs/shocks.md says of interviews.
    """

    command: str
    kills: int
    before: tuple[str, ...] = ()
    resumed: bool = False
    again: str = ""
    makes_run: bool = False
    served: bool = False
    done: int = 0
    asks_anew: bool = False


SIZE = "--num-agents 4 --max-timesteps 16 --two-timescale 4"
SMALL = "--num-agents 3 --max-timesteps 6 --two-timescale 3"
PLAY = f"run {SIZE} --db a.duckdb"
PEOPLE = f"run --scenario bounded {SMALL} --db a.duckdb"
KNN = " --examples known.duckdb"

SCENARIOS: dict[str, Scenario] = {
    "run": Scenario(PLAY, 20, resumed=True),
    "run bounded": Scenario(f"{PLAY} --scenario bounded", 18, resumed=True),
    "run democratic": Scenario(f"{PLAY} --scenario democratic --platforms --election-rule borda", 18, resumed=True),
    "run with archetypes": Scenario(f"{PLAY} --scenario bounded --archetypes 2", 18, resumed=True),
    **{
        f"run {name}": Scenario(
            f"{PEOPLE} --prompt-algo {name}{KNN * (name == 'knn')}",
            12,
            before=(f"run {SMALL} --llm rules --db known.duckdb",) * (name == "knn"),
            resumed=True,
            again=" --allow-file known.duckdb" * (name == "knn"),
            served=True,
        )
        for name in STRATEGIES
    },
    "run in processes": Scenario(f"{PEOPLE} --processes 2", 8, resumed=True, served=True),
    "run on Ray": Scenario(f"{PEOPLE} --engine ray --shards 2", 4, resumed=True),
    "resume": Scenario(
        "resume 1 --max-tokens 9000000 --db a.duckdb", 14, before=(f"{PEOPLE} --max-tokens 10000",), served=True, done=2
    ),
    "fork": Scenario("fork 1 --at 2 --max-timesteps 10 --db a.duckdb", 14, before=(PEOPLE,), resumed=True, served=True),
    "compare": Scenario(f"compare worker=io worker=cot --seeds 2 {SMALL} --db a.duckdb --csv a.csv", 12, served=True),
    "compare in processes": Scenario(
        f"compare worker=io worker=cot --seeds 2 --parallel 2 {SMALL} --db a.duckdb --csv a.csv", 6
    ),
    "experiment": Scenario(f"experiment rational --seeds 2 {SMALL} --db a.duckdb --csv a.csv", 12),
    "optimize": Scenario(
        "optimize worker --optimizer bootstrap --budget 60 --sizes 4,4,4 --max-timesteps 4 --db a.duckdb -o a.json",
        14,
        served=True,
    ),
    "import": Scenario("import out --db b.duckdb", 14, before=(PLAY, "export all --to out --db a.duckdb"), done=2),
    "import a database": Scenario("import a.duckdb --db b.duckdb", 8, before=(PLAY,), done=2),
    "export": Scenario("export all --to out --db a.duckdb", 14, before=(PLAY,), done=2),
    "interview": Scenario(
        "interview 1 Why? --agent 1 --db a.duckdb", 10, before=(PEOPLE,), served=True, asks_anew=True
    ),
    "personas": Scenario("personas --num-agents 20 --db a.duckdb", 12, makes_run=True, served=True),
}
OF_STORED_RUNS = ("resume", "fork", "interview", "import", "export")
"""Commands that need no model, or take that of a stored run."""


class Kill(NamedTuple):
    """A process that a signal ended: when it was sent, and when the process was gone."""

    number: signal.Signals
    sent: float
    gone: float


class Program:
    """The program in processes that are forked from one that has imported everything."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).parents[1] / "support" / "forks.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def run(self, command: str, folder: Path, kill: tuple[signal.Signals, float] | None = None) -> tuple[int, float]:
        """The exit code (-9 after SIGKILL), and when the signal was sent; `kill`: which one, and after how long."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        request = {"folder": str(folder), "args": command.split(), "log": str(log_of(folder))}
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        pid, sent = int(self.server.stdout.readline()), 0.0
        if kill is not None:
            number, after = kill
            with suppress(ProcessLookupError):  # it was faster
                wait_for(pid, after)
                sent = time.monotonic()
                os.kill(pid, number)
                wait_for(pid, PATIENCE)
                os.kill(pid, signal.SIGKILL)
                pytest.fail(f"{command} did not end within {PATIENCE} seconds of {number.name}")
        return os.waitstatus_to_exitcode(int(self.server.stdout.readline())), sent

    def close(self) -> None:
        assert self.server.stdin is not None
        with self.server:
            self.server.stdin.close()


def wait_for(pid: int, seconds: float) -> None:
    """Wait; ProcessLookupError once the process is gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        os.kill(pid, 0)
        time.sleep(0.002)


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    program = Program()
    yield program
    program.close()


def log_of(folder: Path) -> Path:
    """Where all that the commands of a folder print is kept."""
    return folder.with_name(f"{folder.name}.log")


# -- what a command makes ------------------------------------------------------------------------------------------

COMPARED = {"lm_calls": "WHERE signature NOT IN ('Preflight', 'AnswerInterview')", "meta": "WHERE false"}
"""Rows that are compared of some tables. Each process tests its model once more, and each interview is kept."""
NUMBERED = {
    "run_id": "(SELECT runs.name FROM {}.runs WHERE runs.run_id = its.run_id)",
    "config": "json_merge_patch(its.config, '{{\"db\": null}}')",
    "parsed": "CASE WHEN its.call_id > 0 THEN its.parsed END",
    "cost_usd": "round(its.cost_usd, 12)",
    **{
        column: f"CASE WHEN its.{column} > 0 THEN its.{column} % {RUN_STRIDE} END"
        for column in ("call_id", "planner_call_id")
    },
}
"""Numbers of runs, and files that they were first in, depend on which of several processes ends first; names do not.
Calls of a study (ids below 0) are numbered, and their cost is added up, as they come from several threads;
one that was interrupted between its reply and the parsing of it keeps the reply, but no parsed fields."""
VOLATILE = ("latency_ms",)
"""Columns that depend on the clock beside those that hold a time."""


def differences(one: Path, other: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Rows that only one of two databases has, by table; times are left out."""
    with duckdb.connect() as connection:
        for name, path in (("one", one), ("other", other)):
            connection.execute(f"ATTACH '{path}' AS {name} (READ_ONLY)")
        listed = connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'one'").fetchall()
        found = {}
        for (table,) in listed:
            columns = connection.execute(
                """SELECT column_name FROM duckdb_columns() WHERE database_name = 'one' AND table_name = ?
                   AND data_type NOT LIKE 'TIMESTAMP%' AND NOT list_contains(?, column_name) ORDER BY column_index""",
                [table, list(VOLATILE)],
            ).fetchall()
            kept = ", ".join(NUMBERED.get(column, f'"{column}"') for (column,) in columns)
            both = [
                f"SELECT {kept.format(name)} FROM {name}.{table} AS its {COMPARED.get(table, '')}"
                for name in ("one", "other")
            ]
            for first, second in (both, both[::-1]):
                rows = connection.execute(f"({first}) EXCEPT ALL ({second})").fetchall()
                found[table] = found.get(table, []) + rows
        asked = "SELECT DISTINCT run_id, year, agent, response FROM {}.lm_calls WHERE signature = 'AnswerInterview'"
        interviews = [set(connection.execute(asked.format(name)).fetchall()) for name in ("one", "other")]
        found["interviews"] = list(interviews[0] ^ interviews[1])
    return {table: rows for table, rows in found.items() if rows}


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name, with what is in them; of a log and of a database only the name counts here."""
    named = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: b"" if path.suffix in (".duckdb", ".log") else path.read_bytes() for name, path in sorted(named.items())
    }


def check_same(folder: Path, whole: Path) -> None:
    """Two folders have the same files, and their databases the same rows."""
    assert files_of(folder) == files_of(whole)
    for path in whole.glob("*.duckdb"):
        assert differences(folder / path.name, path) == {}, path.name


# -- killed, and given again ---------------------------------------------------------------------------------------


def last_run(folder: Path) -> tuple[int, str]:
    """Number and status of the newest run in the database of a folder; 0 if there is none."""
    db = folder / "a.duckdb"
    if not db.exists():
        return 0, ""
    with duckdb.connect(str(db), read_only=True) as connection:
        found = connection.execute("SELECT run_id, status FROM runs ORDER BY run_id DESC LIMIT 1").fetchall()
    return found[0] if found else (0, "")


def next_command(scenario: Scenario, command: str, folder: Path, runs: int) -> str | None:
    """What a user gives next, who started with `runs` runs; None where there is nothing left to do."""
    number, status = last_run(folder)
    if number <= runs or not (scenario.resumed or scenario.makes_run):
        return command
    if status == "finished":
        return None
    return f"resume {number} --db a.duckdb{scenario.again}" if scenario.resumed else command


def begin(program: Program, scenario: Scenario, folder: Path, model: str) -> None:
    """Make a folder with what was there before the command."""
    folder.mkdir()
    for command in scenario.before:
        code, _ = program.run(with_model(command, model), folder)
        assert code == 0, tail(folder)


def with_model(command: str, model: str) -> str:
    return command if command.split()[0] in OF_STORED_RUNS or "--llm" in command else f"{command} {model}"


def tail(folder: Path) -> str:
    return log_of(folder).read_text()[-2000:]


def processes_in(folder: Path) -> list[str]:
    """Processes that work in a folder."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            if os.readlink(f"/proc/{pid}/cwd") == str(folder):
                found.append(pid)
    return found


def alone(folder: Path) -> None:
    """Wait until no process works in a folder: those that a killed one had begun end by themselves."""
    deadline = time.monotonic() + 6 * PATIENCE  # Ray's take their time
    while left := processes_in(folder):
        assert time.monotonic() < deadline, f"processes {left} are left"
        time.sleep(0.02)


def survive(
    program: Program,
    scenario: Scenario,
    command: str,
    folder: Path,
    rng: random.Random,
    span: float,
    due: Sequence[signal.Signals],
) -> list[Kill]:
    """Give a command, kill it by each signal that is `due` within `span` seconds, and give it again until it ends."""
    kills: list[Kill] = []
    runs, _ = last_run(folder)
    while (now := next_command(scenario, command, folder, runs)) is not None:
        number = due[len(kills)] if len(kills) < len(due) else None
        aim = (number, rng.uniform(0, span)) if number is not None else None
        running = last_run(folder)[1] == "running"  # since an earlier kill
        code, sent = program.run(now, folder, aim)
        if number is not None and sent and code in (-number, 128 + number):
            kills.append(Kill(number, sent, time.monotonic()))
            left = last_run(folder)[1] == "running"
            assert number == signal.SIGKILL or left <= running, f"{now}: {number.name} left the run as 'running'"
            alone(folder)
            continue
        assert code == 0 or (kills and code == scenario.done), f"{now}: exit code {code}\n{tail(folder)}"
        break
    assert "Traceback" not in tail(folder)
    assert "this is a bug" not in tail(folder)
    return kills


def clean_up(program: Program, folder: Path) -> None:
    """Let an hour pass, and a command begin: what killed processes left is removed then."""
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - 3600,) * 2, follow_symlinks=False)
    for db in folder.glob("*.duckdb"):
        program.run(f"resume nothing --db {db.name}", folder)


def check(program: Program, name: str, kills: int, seed: int, folder: Path) -> list[Kill]:
    """Kill a scenario `kills` times in as many trials as it takes; each ends as the undisturbed command does."""
    scenario, rng = SCENARIOS[name], random.Random(f"{name} {seed}")
    signals = [SIGNALS[(seed + number) % len(SIGNALS)] for number in range(kills)]
    with Loopback(latency=0.002) as server:
        asked: list[tuple[float, str]] = []
        server.fault = lambda number, body: asked.append((time.monotonic(), json.dumps(body, sort_keys=True)))
        model = f"--llm gpt-4o-mini --concurrency 4 --base-url {server.url}" if scenario.served else "--llm rules"
        command = with_model(scenario.command, model)
        start, whole = folder / "start", folder / "whole"
        begin(program, scenario, start, model)
        shutil.copytree(start, whole)
        asked.clear()
        begun = time.monotonic()
        code, _ = program.run(command, whole)
        span, once = time.monotonic() - begun, Counter(body for _, body in asked)
        assert code == 0, tail(whole)
        all_kills: list[Kill] = []
        while len(all_kills) < kills:
            trial = folder / f"trial{len(all_kills)}-{rng.random()}"
            shutil.copytree(start, trial)
            asked.clear()
            killed = survive(program, scenario, command, trial, rng, span, signals[len(all_kills) :])
            clean_up(program, trial)
            check_same(trial, whole)
            if not scenario.asks_anew:
                assert paid_twice(asked, [(kill.sent, kill.gone) for kill in killed], once) == []
            # The first run may have been slowed by others: aim earlier where nothing was left to kill.
            all_kills, span = all_kills + killed, span if killed else span * 0.6
            assert span > SHORTEST, "no signal ends this command"
    return all_kills


def test_the_slow_suite_kills_three_hundred_times() -> None:
    assert sum(scenario.kills for scenario in SCENARIOS.values()) == 300


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_killed_command_that_is_given_again_comes_to_the_same_end(
    program: Program, name: str, tmp_path: Path
) -> None:
    begun = time.monotonic()
    kills = check(program, name, SCENARIOS[name].kills, seed=3, folder=tmp_path)
    by_signal = Counter(kill.number.name for kill in kills)
    slowest = max((kill.gone - kill.sent for kill in kills), default=0)
    print(f"KILLS {name}: {dict(by_signal)}, the slowest end {slowest:.2f} s, {time.monotonic() - begun:.1f} s in all")
    assert len(kills) == SCENARIOS[name].kills


@pytest.mark.slow
@pytest.mark.first_cases(1)
@pytest.mark.parametrize(("name", "kills"), [("export", 3), ("run io", 4), ("import", 3)])
def test_ten_kills(program: Program, name: str, kills: int, tmp_path: Path) -> None:
    assert len(check(program, name, kills, seed=1, folder=tmp_path)) == kills
