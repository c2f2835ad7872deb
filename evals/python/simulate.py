"""`llm_economist.simulate`: the command `run` as a function, with the run as its value."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from threading import Lock
from typing import Any

from evals.python.database import Run
from evals.python.given_parts import as_stored
from evals.python.progress_bars import display
from evals.run.command import play_with_progress
from pipeline.errors import UsageError
from pipeline.printed_commands import command
from pipeline.simulation.lifecycle import new_run, prepare
from pipeline.simulation.world import create
from pipeline.store.shards import main_of, merge

_writing: defaultdict[Path, Lock] = defaultdict(Lock)
"""By database: two threads of a process would share one connection's transactions, so one waits for the other."""


def simulate(*, progress: bool | None = None, **settings: Any) -> Run:
    """Play an economy, store every trace, and return the run.

    `settings` are those of `pipeline.config.RunConfig`, which are the flags of `llm-economist run` with underscores,
    and have the same defaults; `strategy`, `program` and `role_llm` take dictionaries by role. `llm` and the values of
    `role_llm` may be `dspy.LM` objects, those of `strategy` classes or functions, and those of `program` tuned modules.
    The rows are those that the command writes. Nothing is printed but the `progress`: True shows it in a Jupyter or
    marimo notebook below the cell, in a terminal as one line, and elsewhere as ten lines on standard error; False shows
    none; None, the default, shows it in notebooks and terminals only.

    It may be called in a script, in a thread, and where an event loop is running (a notebook), which it blocks. Threads
    that write one database take turns. A run that a cap has ended is returned with status "stopped".

    Raises UsageError for a setting that cannot be used, ModelError where the model cannot, StoreError where the
    database cannot. An interrupt stores the run as "interrupted" and is raised as KeyboardInterrupt, which says how to
    resume the run.
    """
    given, models = as_stored(settings)
    config, model, _ = prepare(given)
    if models and (config.processes > 1 or config.engine != "local"):
        raise UsageError("llm: a model object answers in one process; leave out processes and engine, or give its name")
    world, main = create(config), main_of(config.db)
    console, shown = display(progress)
    with _writing[Path(main).absolute()]:
        merge(main)
        with new_run(config, model, world, tell=lambda notice: None, models=models) as simulation:
            ending = play_with_progress(simulation, console, shown)
        db, run_id = simulation.config.db, simulation.run_id
        if ending.status == "interrupted":
            again = command("resume", run_id, "--db", db)
            raise KeyboardInterrupt(f"run {run_id} is interrupted, and all replies are stored; resume it with: {again}")
        moved = [one.new for shard, runs in merge(main) for one in runs if shard == db and one.old == run_id]
    return Run(main, moved[0]) if moved else Run(db, run_id)
