"""A session of another process against a live run: `sql`, `runs` and `watch` answer, a few seconds behind at most."""

import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from support.command_line import CommandLine
from support.runs.live_runs import running, started, until, year_of

from evals.watch import line, live_runs
from pipeline.store import snapshots
from pipeline.store.writer import Store

DB = "economist.duckdb"
BEHIND = 5.0
"""Seconds that an answer may be behind the run."""


def newest_year(cli: CommandLine) -> int:
    return int(cli.sql("select coalesce(max(year), -1) as year from years", DB)[0]["year"])


@pytest.mark.slow
def test_a_session_against_a_live_run(cli: CommandLine) -> None:
    with running(years=100_000, seed=1) as process:
        until(lambda: year_of(DB) >= 3)

        before, asked = year_of(DB), time.monotonic()
        stored = newest_year(cli)
        took = time.monotonic() - asked
        assert took < BEHIND
        assert stored >= before - 1, "what was whole before the question is in the answer"
        assert stored <= year_of(DB), "and nothing is in it that has not been"

        (run,) = cli.sql("select run_id, name, status from runs", DB)
        assert run == {"run_id": 1, "name": "seed1", "status": "running"}
        listed = cli("runs", "--db", DB, "--json")
        assert '"status": "running"' in listed.out
        (call,) = cli.sql("select min(call_id) as id from lm_calls where signature = 'ChooseLabor'", DB)
        assert "ChooseLabor" in cli("show", str(call["id"]), "--db", DB).out

        seen = cli("watch", "--once").out
        assert "run 1 (seed1): year " in seen
        assert "/100000, welfare " in seen
        assert f"{DB} (PID {process.pid})" in seen

        later = newest_year(cli)
        assert later > stored, "the run goes on meanwhile"
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 130, said
    assert cli.sql("select status from runs", DB) == [{"status": "interrupted"}]
    assert newest_year(cli) >= later
    assert "No run is live" in cli("watch").out


@pytest.mark.slow
def test_an_export_of_a_live_run_is_whole(cli: CommandLine) -> None:
    with running(years=100_000, seed=1) as process:
        until(lambda: year_of(DB) >= 3)
        exported = cli("export", "1", "--to", "out")
        assert exported.code == 0, exported.err
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert cli("import", "out", "--db", "copy.duckdb").code == 0
    (run,) = cli.sql("select status, years_played from run_summary", "copy.duckdb")
    assert run["status"] == "running"
    assert run["years_played"] >= 3
    assert cli("replay", "1", "--db", "copy.duckdb").code == 0


@pytest.mark.slow
def test_watch_prints_a_line_an_update_and_ends_with_the_run(cli: CommandLine) -> None:
    with running(years=100, seed=1) as process:
        until(lambda: live_runs(DB))
        with started("watch", "--interval", "0.2") as watcher:
            seen, _ = watcher.communicate(timeout=60)
        assert watcher.returncode == 0
        process.communicate(timeout=60)
    *lines, last = seen.splitlines()
    assert last == "The last run has ended."
    assert len(lines) >= 2
    assert len(set(lines)) == len(lines)
    assert all("(seed1): year " in one for one in lines)


def test_a_line_of_a_run_before_its_first_year() -> None:
    state = {"pid": 7, "path": "folder/a.duckdb", "name": "x", "years": 9}
    assert line(state) == "run - (x): year 0/9, welfare -, - calls, - tokens, $-, a.duckdb (PID 7)"


def test_watch_of_nothing(cli: CommandLine) -> None:
    result = cli("watch", "--once")
    assert result.code == 0
    assert result.out == "No run is live in economist.duckdb or its shards.\n"
    assert not cli.exists(DB)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("command", ["runs", "sql", "show", "eval", "elections", "export", "resume", "interview"])
def test_every_command_names_the_program_that_holds_the_file(cli: CommandLine, command: str) -> None:
    """A program that is not ours, such as DuckDB's own shell, answers no questions."""
    cli("run", "--num-agents", "2", "--max-timesteps", "1", "--llm", "rules", "--db", "a.duckdb")
    hold = "import duckdb, sys; c = duckdb.connect('a.duckdb'); print('open', flush=True); sys.stdin.read()"
    given = {
        "sql": ["select 1"],
        "show": ["1"],
        "runs": [],
        "export": ["1", "--to", "out"],
        "interview": ["1", "--planner", "Why?"],
    }
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        said = cli(command, *given.get(command, ["1"]), "--db", "a.duckdb")
        holder.communicate()
    assert said.code == 1
    assert f"a.duckdb is in use by another process (PID {holder.pid}), python" in said.err
    assert "choose another --db" in said.err
    assert said.err.count("\n") == 1


AWKWARD = {
    "no request": b"",
    "no JSON": b"hello\n",
    "no text": b"\xff\xfe\n",
    "a list": b"[1]\n",
    "nested too deep": b"[" * 9_000 + b"\n",
    "endless": b"x" * 1_000_000,
    "a folder that is none": b'{"copy_to": 7}\n',
    "a path with NUL": b'{"copy_to": "a\\u0000b"}\n',
    "an option in place of a folder": b'{"copy_to": "--help"}\n',
    "a surrogate": b'{"copy_to": "\\ud800"}\n',
}


@pytest.mark.first_cases(7)
@pytest.mark.parametrize("request_", AWKWARD.values(), ids=AWKWARD)
def test_a_faulty_client_ends_only_its_own_connection(request_: bytes, recwarn: pytest.WarningsRecorder) -> None:
    with Store(DB, serve=True):
        for _ in range(2 * snapshots.CLIENTS):
            with socket.socket(socket.AF_UNIX) as client, suppress(BrokenPipeError, ConnectionResetError):
                snapshots._connect(client, snapshots.socket_path(DB))
                client.sendall(request_)
        assert snapshots.status(DB)["path"] == DB


def test_a_silent_client_does_not_delay_others() -> None:
    with Store(DB, serve=True), socket.socket(socket.AF_UNIX) as mute, socket.socket(socket.AF_UNIX) as slow:
        mute.connect(snapshots.socket_path(DB))
        slow.connect(snapshots.socket_path(DB))
        slow.sendall(b"{")
        assert snapshots.status(DB)["path"] == DB
        mute.setblocking(False)
        with pytest.raises(BlockingIOError):  # it is still being waited for
            mute.recv(1)
