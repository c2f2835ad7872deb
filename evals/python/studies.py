"""`llm_economist.compare` and `llm_economist.optimize`: the commands as functions that return what was found."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.compare.command import Options, run_compare
from evals.optimize.command import optimize as tune
from evals.optimize.plan import OptimizeRequest
from evals.output.console import Console
from evals.python.relations import own
from pipeline.agents.given_parts import with_paths_as_text
from pipeline.parallel.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

WIDTH = 110
"""Columns of the printed tables."""


@dataclass(frozen=True)
class Found:
    """A study: its database, its `studies` by name, and the `text` that the command prints.

    `programs`: the program file of each role that was tuned.
    """

    db: str
    studies: tuple[str, ...]
    text: str
    programs: Mapping[str, str]

    @property
    def evaluations(self) -> DuckDBPyRelation:
        """Of a comparison: one row a run and measure (table `evaluations`)."""
        return self._rows("evaluations")

    @property
    def trials(self) -> DuckDBPyRelation:
        """Of an optimization: one row a candidate that was judged (table `optimizer_trials`)."""
        return self._rows("optimizer_trials")

    def _rows(self, table: str) -> DuckDBPyRelation:
        query = f"SELECT * FROM {table} WHERE list_contains($names, study) ORDER BY ALL"
        return own(self.db, query, {"names": [*self.studies]})

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<studies: {', '.join(self.studies)}; database: {self.db}>"


def compare(
    *arms: str,
    seeds: int | str | Sequence[int] = 10,
    primary: str = "welfare",
    detect: Sequence[str] = (),
    max_fallback: float = 5,
    csv: str | os.PathLike[str] | None = None,
    any_code: bool = False,
    **settings: Any,
) -> Found:
    """Compare arms (`"worker=io"`, `"worker=cot"`, `"setting:bracket_setting=flat"`) on the same people.

    `arms`, the reference first, and `settings` are those of `llm-economist compare`; `seeds` is a number (1 to it), a
    text ("5-9") or a list. Runs that the database has are used again. UsageError in one line for what cannot be used.
    """
    wanted = str(seeds) if isinstance(seeds, int | str) else ",".join(map(str, seeds))
    file = os.fspath(csv) if csv is not None else None
    options = Options(wanted, 1, list(detect), max_fallback / 100, file, False, any_code, False, 1.0, primary)
    told = io.StringIO()
    found = run_compare(arms, with_paths_as_text(settings), options, Console(file=told, width=WIDTH))
    assert found is not None
    made, db = found
    return Found(str(Path(db).absolute()), (made.study,), told.getvalue(), {})


def optimize(
    role: str,
    *,
    optimizer: str = "bootstrap_rs",
    metric: str | None = None,
    budget: int = 1000,
    teacher_llm: str | None = None,
    reflection_llm: str | None = None,
    sizes: str | Sequence[int] | None = None,
    from_sql: str | None = None,
    demos: int = 4,
    output: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Found:
    """Tune the prompt of a role, or of several (`"worker,planner"`) in one game, and write their program files.

    The arguments are those of `llm-economist optimize`. Repeating the call resumes an interrupted study; an interrupt
    is raised as KeyboardInterrupt when all replies are stored. UsageError in one line for what cannot be used.
    """
    sized = sizes if sizes is None or isinstance(sizes, str) else ",".join(map(str, sizes))
    file = os.fspath(output) if output is not None else None
    order = OptimizeRequest(role, optimizer, metric, budget, teacher_llm, reflection_llm, sized, from_sql, demos, file)
    told = io.StringIO()
    made = tune(order, with_paths_as_text(settings), Console(file=told, width=WIDTH))
    if made.code == INTERRUPTED:
        raise KeyboardInterrupt("interrupted: all replies are stored; call optimize again to resume")
    return Found(str(Path(made.db).absolute()), made.studies, told.getvalue(), dict(made.programs))
