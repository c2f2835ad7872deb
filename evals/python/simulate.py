"""`llm_economist.simulate`: the command `run` as a function that returns the run."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from evals.output.console import Console
from evals.python.database import Run
from evals.run.command import play_with_progress
from pipeline.agents.given_parts import as_stored
from pipeline.simulation.lifecycle import stored_run


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
    console = Console(stderr=True) if progress else Console(file=io.StringIO(), quiet=True)
    return Run(*stored_run(given, partial(play_with_progress, console=console), models=models))
