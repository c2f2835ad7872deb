"""One signal ends every command with every strategy, while a model keeps it waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import duckdb
import pytest

from evals.testing.openai_server import Loopback, Reply, completion
from pipeline.parallel.interrupts import POLITE, exit_code, forget, polite_ends
from programs.strategies.registry import STRATEGIES

PATIENCE = 60
"""Seconds after which a command that does not end counts as one that never does."""
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
RUN = ("run", "--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--llm", "gpt-4o-mini")
EVERY = [(name, number) for name in STRATEGIES for number in CODES]
FAST = [("refine", signal.SIGTERM), ("sc", signal.SIGINT), ("io", signal.SIGHUP)]


def ends_at(number: int, command: tuple[str, ...], *, at: int) -> tuple[int, str]:
    """The exit code and output of a command that gets one signal while request `at` of its model is in flight."""
    reached = threading.Event()

    def fault(request: int, body: dict[str, Any]) -> Reply | None:
        if request < at:
            return None
        reached.set()
        return completion("too late", body, delay=2 * PATIENCE)

    with (
        Loopback(fault=fault) as server,
        subprocess.Popen(
            [sys.executable, "-m", "evals", *command, "--base-url", server.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OPENAI_API_KEY": "sk-test-not-a-key"},
        ) as process,
    ):
        assert reached.wait(PATIENCE), process.communicate(timeout=1)
        process.send_signal(number)
        try:
            out, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    return process.returncode, out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"),
    [pytest.param(*each, marks=[] if each in FAST else [pytest.mark.slow]) for each in EVERY],
)
@pytest.mark.parametrize("at", [1, 6])
def test_one_signal_ends_a_run_with_any_strategy(name: str, number: signal.Signals, at: int) -> None:
    code, out = ends_at(number, (*RUN, "--prompt-algo", name, "--db", "a.duckdb"), at=at)
    assert code == CODES[number], out
    assert "Traceback" not in out
    with duckdb.connect("a.duckdb", read_only=True) as db:
        assert db.execute("SELECT status FROM runs").fetchall() == [("interrupted",)]


MODEL = ("--llm", "gpt-4o-mini", "--db", "a.duckdb")
SIZE = ("--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2")
COMMANDS: dict[str, tuple[str, ...]] = {
    "resume": ("resume", "1", "--db", "a.duckdb"),
    "fork": ("fork", "1", "--at", "2", "--max-timesteps", "6", *MODEL),
    "interview": ("interview", "1", "Why?", "--agent", "1", *MODEL),
    "personas": ("personas", "--num-agents", "3", *MODEL),
    "compare": ("compare", "worker=io", "worker=refine", "--seeds", "2", *SIZE, *MODEL),
    "compare in processes": ("compare", "worker=io", "worker=cot", "--seeds", "2", "--parallel", "2", *SIZE, *MODEL),
    "experiment": ("experiment", "rational", "--seeds", "1-2", *SIZE, *MODEL),
    "optimize": (
        *("optimize", "worker", "--optimizer", "bootstrap_rs", "--budget", "50", "--sizes", "4,4,4"),
        *("--timeout", "600", *MODEL),  # threads of DSPy must not be awaited for so long
    ),
    "optimize several roles": (
        *("optimize", "worker,planner", "--optimizer", "bootstrap_rs", "--budget", "1500", "--sizes", "2,2,2"),
        *("--timeout", "600", *SIZE, *MODEL),
    ),
    "validate": ("validate", "--size", "small", *MODEL),
    "processes": ("run", *SIZE, "--processes", "2", *MODEL),
    "doctor": ("doctor", *MODEL),
}


def cut_off_after_two_years(db: str) -> None:
    """Make the run of a database one that a model plays, and that was cut off."""
    model = '{"llm": "gpt-4o-mini"}'
    with duckdb.connect(db) as connection:
        set_model = f"llm = 'gpt-4o-mini', config = json_merge_patch(config, '{model}')"
        connection.execute(f"UPDATE runs SET status = 'interrupted', {set_model}")
        for table in ("years", "decisions", "lm_calls"):
            connection.execute(f"DELETE FROM {table} WHERE year > 1")


@pytest.mark.slow
@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("name", COMMANDS)
def test_one_signal_ends_every_command_that_asks_a_model(name: str, number: signal.Signals) -> None:
    if name in ("resume", "fork", "interview"):
        play = [sys.executable, "-m", "evals", "run", *SIZE, "--llm", "rules", "--db", "a.duckdb"]
        subprocess.run(play, check=True, capture_output=True)
    if name == "resume":
        cut_off_after_two_years("a.duckdb")
    code, out = ends_at(number, COMMANDS[name], at=2 if name not in ("interview", "doctor") else 0)
    assert code in (CODES[number], -number), out
    assert "Traceback" not in out
    assert "this is a bug" not in out


@pytest.mark.parametrize("number", POLITE)
def test_a_signal_that_asks_for_an_end_is_an_interrupt_unless_it_is_ignored(number: signal.Signals) -> None:
    """`nohup` starts a program that ignores SIGHUP."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with polite_ends():
            signal.raise_signal(number)
        signal.signal(number, signal.SIG_DFL)
        with pytest.raises(KeyboardInterrupt), polite_ends():
            signal.raise_signal(number)
        assert exit_code() == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        forget()
        signal.signal(number, before)


STUCK = """
import os, signal, sys, threading
from evals.cli import main
from pipeline.parallel.interrupts import INTERRUPTED

def interrupted_with_a_stuck_thread():
    threading.Thread(target=threading.Event().wait).start()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()
    except KeyboardInterrupt:
        return INTERRUPTED

main._exit_code = interrupted_with_a_stuck_thread
main.program()
"""


def test_an_interrupted_process_ends_although_a_thread_of_it_never_does() -> None:
    ended = subprocess.run([sys.executable, "-c", STUCK], timeout=PATIENCE, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (143, "")
