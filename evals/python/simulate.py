"""`llm_economist.simulate`: the command `run` as a function, with the run as its value."""

from __future__ import annotations

from functools import partial
from typing import Any

from evals.python.database import Run
from evals.python.progress_bars import display
from evals.run.command import play_with_progress
from pipeline.agents.given_parts import as_stored
from pipeline.simulation.lifecycle import stored_run


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
    console, shown = display(progress)
    return Run(*stored_run(given, partial(play_with_progress, console=console, shown=shown), models=models))
