"""`llm_economist.simulate`: the command `run` as a function, with the run as its value."""

from __future__ import annotations

import io
import os
from collections import defaultdict
from pathlib import Path
from threading import Lock
from typing import Any

from evals.output.console import Console
from evals.python.database import Run
from evals.run.command import begin_and_play, configure
from pipeline.parallel.interrupts import INTERRUPTED
from pipeline.printed_commands import command
from pipeline.store.shards import main_of

_writing: defaultdict[Path, Lock] = defaultdict(Lock)
"""By database: two threads of a process would share one connection's transactions, so one waits for the other."""


def simulate(*, progress: bool = False, **settings: Any) -> Run:
    """Play an economy, store every trace, and return the run.

    `settings` are those of `pipeline.config.RunConfig`, which are the flags of `llm-economist run` with underscores,
    and have the same defaults; `strategy`, `program` and `role_llm` take dictionaries by role. The rows are those that
    the command writes. Nothing is printed; with `progress`, one line on standard error tells how far the run is.

    It may be called in a script, in a thread, and where an event loop is running (a notebook), which it blocks. Threads
    that write one database take turns. A run that a cap has ended is returned with status "stopped".

    Raises UsageError for a setting that cannot be used, ModelError where the model cannot, StoreError where the
    database cannot. An interrupt stores the run as "interrupted" and is raised as KeyboardInterrupt, which says how to
    resume the run.
    """
    given = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in settings.items()}
    silent = Console(file=io.StringIO(), quiet=True)
    with _writing[Path(main_of(configure(given).db)).absolute()]:
        played = begin_and_play(given, silent, progress=Console(stderr=True) if progress else None)
    if played.code == INTERRUPTED:
        again = command("resume", played.run_id, "--db", played.db)
        raise KeyboardInterrupt(
            f"run {played.run_id} is interrupted, and all replies are stored; resume it with: {again}"
        )
    return Run(played.db, played.run_id)
