"""`llm_economist.simulate`: the command `run` as a function that returns the run."""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path
from threading import Lock
from typing import Any

from evals.output.console import Console
from evals.python.database import Run
from evals.python.given_parts import as_stored
from evals.run.command import play_with_progress
from pipeline.errors import UsageError
from pipeline.printed_commands import command
from pipeline.simulation.lifecycle import new_run, prepare
from pipeline.simulation.world import create
from pipeline.store.shards import main_of, merge

_writing: defaultdict[Path, Lock] = defaultdict(Lock)
"""Locks by database: two threads of a process would share one connection's transactions, so one waits for the other."""


def simulate(*, progress: bool = False, **settings: Any) -> Run:
    """Play an economy, store every trace, and return the run.

    `settings` are the fields of `pipeline.config.RunConfig`: the flags of `llm-economist run` with underscores and the
    same defaults. `strategy`, `program` and `role_llm` take dictionaries by role. `llm` and the values of `role_llm`
    may be `dspy.LM` objects, those of `strategy` classes or functions, and those of `program` tuned modules. The
    function stores the same rows as the command. It prints nothing; with `progress`, one line on standard error shows
    how far the run is.

    Call it in a script, in a thread, or in a notebook, whose event loop it blocks. Threads that write the same database
    take turns. A run that a cap has ended is returned with status "stopped".

    Raises UsageError for an invalid setting, ModelError if the model cannot be used, and StoreError if the database
    cannot. An interrupt stores the run as "interrupted" and raises KeyboardInterrupt, whose message says how to resume
    the run.
    """
    given, models = as_stored(settings)
    config, model, _ = prepare(given)
    if models and (config.processes > 1 or config.engine != "local"):
        raise UsageError("llm: a model object answers in one process; leave out processes and engine, or give its name")
    world, main = create(config), main_of(config.db)
    console = Console(stderr=True) if progress else Console(file=io.StringIO(), quiet=True)
    with _writing[Path(main).absolute()]:
        merge(main)
        with new_run(config, model, world, tell=lambda notice: None, models=models) as simulation:
            ending = play_with_progress(simulation, console)
        db, run_id = simulation.config.db, simulation.run_id
        if ending.status == "interrupted":
            again = command("resume", run_id, "--db", db)
            raise KeyboardInterrupt(f"run {run_id} is interrupted, and all replies are stored; resume it with: {again}")
        moved = [one.new for shard, runs in merge(main) for one in runs if shard == db and one.old == run_id]
    return Run(main, moved[0]) if moved else Run(db, run_id)
