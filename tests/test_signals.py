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

from evals.loopback import Loopback, Reply, completion
from programs.strategies import STRATEGIES

PATIENCE = 60
"""Seconds after which a command that does not end counts as one that never does."""
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
RUN = ("run", "--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--llm", "gpt-4o-mini")
EVERY = [(name, number) for name in STRATEGIES for number in CODES]
FAST = [("refine", signal.SIGTERM), ("sc", signal.SIGINT)]


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


@pytest.mark.parametrize(
    ("name", "number"),
    [pytest.param(*each, marks=[] if each in FAST else [pytest.mark.slow]) for each in EVERY],
)
@pytest.mark.parametrize("at", [1, 2, 6])
def test_one_signal_ends_a_run_with_any_strategy(name: str, number: signal.Signals, at: int) -> None:
    code, out = ends_at(number, (*RUN, "--prompt-algo", name, "--db", "a.duckdb"), at=at)
    assert code == CODES[number], out
    assert "Traceback" not in out
    with duckdb.connect("a.duckdb", read_only=True) as db:
        assert db.execute("SELECT status FROM runs").fetchall() == [("interrupted",)]
