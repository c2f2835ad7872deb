"""`llm_economist.compare` and `llm_economist.optimize`: the commands as functions that return their results."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dspy

from evals.compare.command import Options, run_compare
from evals.optimize.command import optimize as tune
from evals.optimize.plan import OptimizeRequest
from evals.output.console import Console
from evals.python.arguments import checked_arguments
from evals.python.progress_bars import in_jupyter, in_marimo
from evals.python.relations import own
from pipeline.agents.given_parts import as_stored, model_name
from pipeline.parallel.interrupts import INTERRUPTED
from programs.given_models import giving
from programs.visible import visible

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

WIDTH = 110
"""Columns of the printed tables."""

PROGRESS = re.compile(r"(\d[\d,]*/\d[\d,]* runs|trial \d+|round \d+)\b")
"""The beginning of a line on how far a study is."""


@dataclass(frozen=True)
class Found:
    """The results of a command: the database, the names of its `studies`, and the `text` that the command prints.

    `programs`: the program file of each role that was tuned.
    """

    db: str
    studies: tuple[str, ...]
    text: str
    programs: Mapping[str, str]

    @property
    def evaluations(self) -> DuckDBPyRelation:
        """The scores of a comparison: one row per run and measure (table `evaluations`)."""
        return self._rows("evaluations")

    @property
    def trials(self) -> DuckDBPyRelation:
        """The trials of an optimization: one row per candidate that was judged (table `optimizer_trials`)."""
        return self._rows("optimizer_trials")

    def _rows(self, table: str) -> DuckDBPyRelation:
        query = f"SELECT * FROM {table} WHERE list_contains($names, study) ORDER BY ALL"
        return own(self.db, query, {"names": [*self.studies]})

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<studies: {', '.join(self.studies)}; database: {visible(self.db)}>"

    def _repr_html_(self) -> str:
        """The text for notebooks."""
        return f"<pre>{escape(visible(self.text))}</pre>"


class _Told(io.StringIO):
    """The text that a command prints; lines on its progress also appear on standard error while it works, if wanted."""

    def __init__(self, progress: bool | None) -> None:
        super().__init__()
        self.shown = progress if progress is not None else in_marimo() or in_jupyter() or sys.stderr.isatty()

    def write(self, text: str) -> int:
        if self.shown and PROGRESS.match(text.lstrip()):
            print(text.rstrip(), file=sys.stderr, flush=True)
        return super().write(text)

    def console(self) -> Console:
        """A console that writes here, in notebooks too."""
        return Console(file=self, width=WIDTH, force_jupyter=False, force_terminal=False)


@checked_arguments
def compare(
    *arms: str,
    seeds: int | str | Sequence[int] = 10,
    primary: str = "welfare",
    detect: str | Sequence[str] = (),
    max_fallback: float = 5,
    csv: str | os.PathLike[str] | None = None,
    any_code: bool = False,
    progress: bool | None = None,
    **settings: Any,
) -> Found:
    """Compare arms (`"worker=io"`, `"worker=cot"`, `"setting:bracket_setting=flat"`) on the same people.

    `arms`, the reference first, and `settings` are those of `llm-economist compare`, with objects as `simulate` takes
    them; `seeds` is a number n (for 1 to n), a text ("5-9") or a list. Runs in the database are reused. `progress`:
    whether a line on standard error tells of each run; None: in notebooks and terminals. UsageError in one line for an
    invalid argument.
    """
    wanted = str(seeds) if isinstance(seeds, int | str) else ",".join(map(str, seeds))
    file = os.fspath(csv) if csv is not None else None
    outcomes = [detect] if isinstance(detect, str) else list(detect)
    options = Options(wanted, 1, outcomes, max_fallback / 100, file, False, any_code, False, 1.0, primary)
    told, (given, models) = _Told(progress), as_stored(settings)
    with giving(models):
        found = run_compare(arms, given, options, told.console())
    assert found is not None
    made, db = found
    return Found(str(Path(db).absolute()), (made.study,), told.getvalue(), {})


@checked_arguments
def optimize(
    role: str,
    *,
    optimizer: str = "bootstrap_rs",
    metric: str | None = None,
    budget: int = 1000,
    teacher_llm: str | dspy.BaseLM | None = None,
    reflection_llm: str | dspy.BaseLM | None = None,
    sizes: str | Sequence[int] | None = None,
    from_sql: str | None = None,
    demos: int = 4,
    output: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> Found:
    """Tune the prompt of a role, or of several (`"worker,planner"`) in one game, and write their program files.

    The arguments are those of `llm-economist optimize`, with objects as `simulate` takes them. `progress`: whether a
    line on standard error tells of each trial; None: in notebooks and terminals. Repeating the call resumes an
    interrupted study; an interrupt raises KeyboardInterrupt when all replies are stored. UsageError in one line for an
    invalid argument.
    """
    sized = sizes if sizes is None or isinstance(sizes, str) else ",".join(map(str, sizes))
    file = os.fspath(output) if output is not None else None
    told, (given, models) = _Told(progress), as_stored(settings)
    teacher, reflection = model_name(teacher_llm, models), model_name(reflection_llm, models)
    order = OptimizeRequest(role, optimizer, metric, budget, teacher, reflection, sized, from_sql, demos, file)
    with giving(models):
        made = tune(order, given, told.console())
    if made.code == INTERRUPTED:
        raise KeyboardInterrupt("interrupted: all replies are stored; call optimize again to resume")
    return Found(str(Path(made.db).absolute()), made.studies, told.getvalue(), dict(made.programs))
