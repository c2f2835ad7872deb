"""Runs in processes of their own, and how a test waits for what they store."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.errors import StoreError
from pipeline.store import snapshots

DB = "economist.duckdb"


@contextmanager
def started(*args: str) -> Iterator[subprocess.Popen[str]]:
    """A real `llm-economist` in this folder, which has ended afterwards."""
    command = [sys.executable, "-m", "evals", *args]
    with subprocess.Popen(command, stdout=-1, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def running(*, years: int, seed: int, db: str = DB) -> Any:
    return started(
        "run", "--llm", "rules", "--max-timesteps", str(years), "--seed", str(seed), "--db", db, "--name", f"seed{seed}"
    )


def until(condition: Any, seconds: float = 30) -> Any:
    """What `condition` returns, once that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to pass")


def year_of(db: str) -> int:
    """Years that the live run in `db` has behind it."""
    try:
        return int(snapshots.status(db).get("year", 0)) if os.path.exists(snapshots.socket_path(db)) else 0
    except StoreError:
        return 0
