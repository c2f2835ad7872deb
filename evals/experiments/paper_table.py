"""Play the runs behind the published claims, and print the table of `llm-economist experiment paper`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.text import Text

from evals.compare.command import Options, forecast, study_name, tell_models
from evals.compare.contrasts import number
from evals.experiments.command import cells_of, once_each
from evals.experiments.paper import CLAIMS, NAME, Found, Row, measured, targets
from evals.output.console import Console
from evals.output.files import writable
from evals.output.number_format import MISSING, figure, share
from evals.output.tables import rich_table, write_csv
from evals.sweep.cells import Cell
from evals.sweep.sweep import Sweep
from pipeline.errors import UsageError
from pipeline.store.columns import now
from pipeline.store.writer import Store
from programs.calls.model_names import RULES

SUBJECT = "claim"
"""The subject of the rows of `evaluations`."""

WIDTH = 200
"""Width of the table if there is no terminal."""


def run_paper(settings: Mapping[str, Any], options: Options, *, paper: bool, figure: str | None) -> None:
    """Play the missing runs, store and print the table. EconomistError in one line."""
    if figure is not None:
        raise UsageError("--figure does not fit `experiment paper`, which is a table; use --csv FILE")
    targets()
    made = {name: _cells(name, settings, options, paper=paper) for name in CLAIMS}
    cells = once_each(made)
    db, welfare = cells[0].config.db, str(cells[0].config.welfare)
    if options.csv is not None:
        writable(options.csv, not_over=db, flag="--csv")
    console = Console(stderr=options.json)
    sweep = Sweep(cells, db, parallel=options.parallel, any_code=options.any_code)
    if options.dry_run:
        return forecast(sweep, console, options)
    tell_models(cells, console)
    found = measured(made, sweep.play(console), db, welfare)
    _store(found, study_name(NAME, cells, welfare), db)
    if options.csv is not None:
        write_csv([*map(as_row, found)], options.csv, not_over=db, flag="--csv")
    if options.json:
        print(json.dumps({"experiment": NAME, "rows": [*map(as_row, found)]}))
    else:
        _print(found, console)


def _cells(name: str, settings: Mapping[str, Any], options: Options, *, paper: bool) -> list[Cell]:
    """The cells of a claim. The arm `rules` takes part only where another model does: else it would play twice."""
    experiment = CLAIMS[name].experiment
    others = {arm: own for arm, own in experiment.arms.items() if arm != RULES}
    cells = cells_of(f"paper {name}", replace(experiment, arms=others), settings, options, paper=paper)
    if RULES in experiment.arms and any(cell.model != RULES for cell in cells):
        return cells_of(f"paper {name}", experiment, settings, options, paper=paper)
    return cells


def _store(found: Sequence[Found], study: str, db: str) -> None:
    """Write the rows of the table to `evaluations`."""
    rows = [
        {
            "study": study,
            "subject": SUBJECT,
            "metric": one.name,
            "score": number(one.ours.mean),
            "low": number(one.ours.low),
            "high": number(one.ours.high),
            "runs": one.seeds,
            "feedback": one.target.claim,
            "created_at": now(),
        }
        for one in found
    ]
    with Store(db) as store:
        store.write_study(study, rows)


def as_row(found: Found) -> dict[str, Any]:
    """A row of the table as plain data."""
    return {
        "row": found.name,
        "claim": found.target.claim,
        "published": found.target.value,
        "status": found.target.status,
        "source": found.target.source,
        "ours": number(found.ours.mean),
        "low": number(found.ours.low),
        "high": number(found.ours.high),
        "seeds": found.seeds,
        "deviation": found.deviation,
        "why": found.target.why,
    }


def _print(found: Sequence[Found], console: Console) -> None:
    console.widen(WIDTH)
    head = ["claim", "published", "ours", "95 % interval", "seeds", "deviation", "why"]
    console.print(rich_table(head, map(_line, found), title="Published claims", left=(0, 6)))
    for note in _notes(found):
        console.print(Text(note, style="dim"), soft_wrap=True)


def _line(one: Found) -> Iterator[str]:
    value, ends = one.target.value, (one.ours.low, one.ours.high)
    yield one.target.claim
    yield f"{value if isinstance(value, str) else shown(value, one.row)} ({one.target.status})"
    yield shown(one.ours.mean, one.row)
    yield MISSING if any(map(math.isnan, ends)) else " .. ".join(shown(end, one.row) for end in ends)
    yield str(one.seeds)
    yield MISSING if one.deviation is None else shown(one.deviation, one.row)
    yield one.target.why


def shown(value: float, row: Row) -> str:
    """A figure of a row: a share in percent, or dollars."""
    if math.isnan(value):
        return MISSING
    return share(value) if row.percent else figure(value)


def _notes(found: Sequence[Found]) -> Iterator[str]:
    yield "Means over seeds with their 95 % intervals (Student's t, skewness-corrected). `-`: no value."
    if unknown := sum(isinstance(one.target.value, str) for one in found):
        yield (
            f"{unknown} of {len(found)} published values are unknown: docs/paper_targets.toml says where each claim "
            "comes from; a value entered there gives a deviation."
        )
