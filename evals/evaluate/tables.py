"""Print an evaluation as tables, as JSON, and as CSV."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from evals.evaluate.command import Best, EvaluatedRun, Evaluation, People
from evals.output import tables
from evals.output.console import Console
from evals.output.number_format import figure, plain, several
from evals.policies import who_gains
from evals.policies.share_of_gain import moves, objective_table, unit_of

WIDTH = 100
"""Width of the tables if there is no terminal."""

BLOCKS = "▁▂▃▄▅▆▇█"

LONGEST = 40
"""Maximum blocks in a line of years; with more years, several share a block."""


NOTE = (
    "Years as played are means over years; they can beat ORACLE, because workers who work more than their best hours "
    "pay tax that everyone shares. Under a law every worker best-responds and is satisfied. Equality: 1 - gini of "
    "income after tax and rebate; output: mean income before tax, dollars a year; front (*): no policy here has at "
    "least as much of both and more of one. SAEZ, SAEZ_FLAT and SAEZ_THREE are computed for the run's objective."
)


def print_evaluation(made: Evaluation, console: Console) -> None:
    """For each population: welfare and ranks of its policies, the front, cautions; for each run: its yardsticks."""
    console.widen(WIDTH)
    for people in made.people:
        console.print(_welfare_table(people, made.names))
        console.print(_place_table(people, made.names))
        _say(console, NOTE)
        for warning in people.warnings:
            console.print(Text(f"Caution, {warning}", style="yellow"), soft_wrap=True)
        for run in people.runs:
            for line in (*yardstick_lines(run), certificate_line(run, made.best[run.run_id])):
                _say(console, line)
            for line in run.unanswered:
                _say(console, plain(line))
            print_laws(run, console)
            of = f"run {run.run_id}, year {run.ranges[0][1]}"
            console.print(*who_gains.for_terminal(run.gains, of, who_gains.LONG), sep="\n")
        _say(console, who_gains.NOTE)


def print_laws(run: EvaluatedRun, console: Console) -> None:
    """The run's last law and the laws it is compared with, under its own objective and for fresh people."""
    title = f"Run {run.run_id}: laws under its objective, {run.setting.welfare}: {unit_of(run.setting.welfare)}"
    console.print(objective_table(title, run.laws))
    for note in run.law_notes:
        _say(console, note)


def _say(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)


def _welfare_table(people: People, names: Sequence[str]) -> Table:
    numbers = ", ".join(str(run.run_id) for run in people.runs)
    size = len(people.runs[0].setting.wages)
    title = f"Welfare of the {size} people of run{'s' * (len(people.runs) > 1)} {numbers}, dollars per person"
    rows = [
        [Text(str(number), style="dim"), policy.label, *(figure(policy.welfare[name]) for name in names)]
        for number, policy in enumerate(people.policies, start=1)
    ]
    title += " (paper: no unit)" * ("paper" in names)
    return tables.rich_table(["", "policy", *tables.broken(names)], rows, title=title, left=(1,), gap=1)


def _place_table(people: People, names: Sequence[str]) -> Table:
    head, rows = ["", *tables.broken(names), "equality", "output,\n$ a year", "front"], []
    for i, policy in enumerate(people.policies):
        places = [people.places[name][i] for name in names]
        cells = (Text(str(place), style="bold" if place == 1 else "") for place in places)
        ends = (f"{policy.equality:.3f}", f"{policy.output:,.0f}", "*" if people.front[i] else "")
        rows.append([Text(str(i + 1), style="dim"), *cells, *ends])
    return tables.rich_table(head, rows, title="Ranks of these policies, and equality against output", left=(), gap=1)


def yardstick_lines(run: EvaluatedRun) -> Iterator[str]:
    """Each yardstick over the years as one line of blocks, with its first and last value."""
    columns = (("planner share", "planner_share", "{:.0%}"), ("mean regret", "mean_regret", "${:,.0f}"))
    yield f"Run {run.run_id} ({run.name}), years 0 to {run.yardsticks[-1]['year']}, objective {run.setting.welfare}:"
    for title, column, form in (*columns, ("equilibrium gap", "equilibrium_gap", "${:,.0f}")):
        values = [math.nan if one[column] is None else float(one[column]) for one in run.yardsticks]
        known = [value for value in values if not math.isnan(value)]
        if not known:
            yield f"  {title:<16} not defined for these years"
            continue
        first, last, least, most = (form.format(value) for value in (known[0], known[-1], min(known), max(known)))
        yield f"  {title:<16} {blocks(values)}  {first} -> {last}, from {least} to {most}"


def blocks(values: Sequence[float], longest: int = LONGEST) -> str:
    """Values as blocks from lowest to highest; nan is a blank, and several values share a block as their mean.

    >>> blocks([0, 1, math.nan, 4, 8])
    '▁▂ ▅█'
    """
    parts = [np.asarray(part, dtype=float) for part in np.array_split(values, min(longest, len(values)))]
    means = [float(part[~np.isnan(part)].mean()) if not np.isnan(part).all() else math.nan for part in parts]
    known = [mean for mean in means if not math.isnan(mean)]
    low, spread = min(known, default=0.0), (max(known, default=0.0) - min(known, default=0.0)) or 1.0
    return "".join(" " if math.isnan(mean) else BLOCKS[round(7 * (mean - low) / spread)] for mean in means)


def certificate_line(run: EvaluatedRun, best: Best) -> str:
    """The evidence that ORACLE's schedule is the optimum, and on the next line the best on the planner's ten-point
    grid."""
    proof = best.certificate
    rates, grid = ("/".join(f"{rate:g}" for rate in law.rates) for law in (best.schedule, proof.grid))
    how = f"all {proof.starts:,} schedules of the ten-point grid" if proof.enumerated else f"{proof.starts} searches"
    optima = several(proof.optima, "local optimum", "local optima")
    second = "the only one" if proof.runner_up is None else f"the second best {figure(proof.runner_up)}"
    return (
        f"  ORACLE {rates}: {figure(proof.welfare)}, the optimum at any rates, refined from the best of {how} with "
        f"{optima}, {second}; no move of one or two rates by {moves()} points improves it "
        f"(best: {proof.improvement:+.3g}); {best.seconds:.2f} s\n"
        f"  ORACLE_GRID {grid}: {figure(proof.grid_welfare)}, the best found on the planner's own ten-point grid"
    )


# -- for machines ------------------------------------------------------------------------------------------------


def as_json(made: Evaluation) -> dict[str, Any]:
    """The whole evaluation; what is not a number is null."""
    return {
        "welfare": made.names,
        "runs": [
            {
                "run_id": run.run_id,
                "name": run.name,
                "objective": run.setting.welfare,
                "years": run.yardsticks,
                "laws": [{**asdict(law), "law": law.law.rates} for law in run.laws],
                "oracle": _oracle(made.best[run.run_id]),
                "incidence": who_gains.as_json(run.gains),
            }
            for run in made.runs
        ],
        "people": [
            {"runs": [run.run_id for run in people.runs], "policies": _policies(people), "warnings": people.warnings}
            for people in made.people
        ],
    }


def _oracle(best: Best) -> dict[str, Any]:
    """ORACLE's rates with their certificate; `grid`: the rates of ORACLE_GRID."""
    proof = best.certificate
    return {"rates": best.schedule.rates, **asdict(proof), "grid": proof.grid.rates}


def _policies(people: People) -> list[dict[str, Any]]:
    return [
        {
            **asdict(policy),
            "welfare": dict(policy.welfare),
            "places": {name: places[i] for name, places in people.places.items()},
            "front": people.front[i],
        }
        for i, policy in enumerate(people.policies)
    ]


def write_csv(made: Evaluation, path: str, *, not_over: str) -> None:
    """Write one row per population, policy and welfare function. UsageError if the file cannot be written."""
    heads = ["runs", "run_id", "policy", "rates", "welfare", "value", "place", "equality", "output", "front"]
    rows = []
    for people in made.people:
        numbers = " ".join(str(run.run_id) for run in people.runs)
        for policy in _policies(people):
            rates = "/".join(f"{rate:g}" for rate in policy["rates"] or ())
            ends = (policy["equality"], policy["output"], str(policy["front"]).lower())
            for name, value in policy["welfare"].items():
                place = policy["places"][name]
                cells = [numbers, policy["run_id"], " = ".join(policy["names"]), rates, name, value, place, *ends]
                rows.append(dict(zip(heads, cells, strict=True)))
    tables.write_csv(rows, path, not_over=not_over, heads=heads)
