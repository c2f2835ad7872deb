"""Print the results of experiments as tables, as JSON and as CSV."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.table import Table
from rich.text import Text

from evals.compare import tables as contrast_tables
from evals.compare.contrasts import Comparison, Estimate
from evals.compare.run_measures import OWN_SHARE, Measure
from evals.compare.statistics import Interval
from evals.compare.tables import (
    arm_text,
    cost_table,
    few_notes,
    flag_notes,
    print_comparison,
    ranges,
    say,
    shown,
    where_stored,
)
from evals.elections import command as election_tables
from evals.elections import notes
from evals.experiments.results import Finding
from evals.experiments.solved_baselines import FRESH, FRESHES, SHARE, SHARES, VALUES
from evals.output.console import Console
from evals.output.tables import broken, rich_table
from evals.policies.share_of_gain import ON_FRESH_PEOPLE, SHARE_OF_GAIN, unit_of
from pipeline.economy.baselines import START_RATE

WIDTH = 160
"""Width of the tables if there is no terminal."""


def print_finding(found: Finding, console: Console, *, detect: Mapping[str, float], db: str) -> None:
    """Print the question, the tables that answer it, and the notes."""
    console.widen(WIDTH)
    console.print(Text.assemble((found.name, "bold"), f": {found.experiment.question}"), soft_wrap=True)
    if found.experiment.paired and not found.experiment.by_welfare:
        print_comparison(found.arms, console, detect=detect, db=db)
    else:
        for table in _tables(found):
            console.print(table)
        for note in _notes(found, db):
            say(console, note)
    if found.labs:
        for table in election_tables.rule_tables(found.labs):
            console.print(table)
        for note in notes.notes(found.labs):
            say(console, note)


def _tables(found: Finding) -> Iterator[Table]:
    arms, who = found.arms, f"{len(found.arms.arms)} arms, seeds {ranges(found.arms.seeds)}"
    if found.solved is not None:
        yield from _solved_tables(arms, found.solved.objectives, who)
        return
    if found.experiment.by_welfare:
        shares = {name: one for name, one in arms.measures.items() if name == OWN_SHARE}
        title = f"{who}: the last law under every welfare function, if every worker best-responds"
        yield matrix(arms, {**VALUES, **shares}, title)
    if found.experiment.by_welfare:
        yield matrix(arms, VALUES, f"Differences from {arms.reference}, paired by seed", of=_difference, sign=True)
    else:
        yield means_table(arms, f"{who}, each with its own people; welfare: {arms.welfare}")
    yield cost_table(arms)


def _solved_tables(arms: Comparison, objectives: Sequence[str], who: str) -> Iterator[Table]:
    """Dollars, shares of ORACLE's gain, and dollars for fresh people: side by side for one objective, else in turn."""
    kinds = ((VALUES, "", "these people"), (SHARES, SHARE, SHARE_OF_GAIN), (FRESHES, FRESH, ON_FRESH_PEOPLE))
    if len(objectives) == 1:
        (name,) = objectives
        columns = {f"{name}{end}": replace(kind[f"{name}{end}"], head=head) for kind, end, head in kinds}
        yield matrix(arms, columns, f"{who}; laws are computed for {name} and judged by it: {unit_of(name)}")
        return
    titles = (
        f"{who}; every law is computed for the objective of its column. Dollars per person per year (paper: a sum over "
        "people)",
        f"The same: {SHARE_OF_GAIN} over {START_RATE:g} % in every bracket",
        f"The same laws {ON_FRESH_PEOPLE}",
    )
    for (kind, end, _), title in zip(kinds, titles, strict=True):
        yield matrix(arms, {f"{name}{end}": replace(kind[f"{name}{end}"], head=name) for name in objectives}, title)


def _mean(one: Estimate) -> Interval:
    return one.mean


def _difference(one: Estimate) -> Interval:
    return Interval(math.nan, math.nan, math.nan) if one.contrast is None else one.contrast.difference


def matrix(
    made: Comparison,
    measures: Mapping[str, Measure],
    title: str,
    *,
    of: Callable[[Estimate], Interval] = _mean,
    sign: bool = False,
) -> Table:
    """Arms by measures: a mean (a difference if `sign`), and below it the ends of its interval."""
    table = _table(made, title, broken(measures[name].head or name for name in measures))
    by_arm = {(one.arm, one.measure): one for one in made.estimates}
    for arm in made.arms:
        found = ((of(by_arm[arm, name]), measure) for name, measure in measures.items())
        cells = [_cell(ends, measure, sign=sign) for ends, measure in found if not math.isnan(ends.mean) or not sign]
        if cells:
            table.add_row(arm_text(made, arm), *cells)
    return table


def _cell(ends: Interval, measure: Measure, *, sign: bool) -> Text:
    mean, interval = shown(ends.mean, measure, sign=sign), interval_text(ends, measure, sign=sign)
    return Text.assemble(mean, "\n", (interval, "dim")) if interval else Text(mean)


def means_table(made: Comparison, title: str) -> Table:
    """Each arm on its own: the mean over its runs, with its interval."""
    table = _table(made, title, ["runs", "mean", "95 % interval"], whole=range(1, 4))
    for measure in (one for one in made.measures.values() if one.outcome):
        table.add_row(Text(measure.name, style="bold"))
        for one in (one for one in made.estimates if one.measure == measure.name):
            mean = shown(one.mean.mean, measure)
            table.add_row(arm_text(made, one.arm, indent="  "), str(one.runs), mean, interval_text(one.mean, measure))
    return table


def _table(made: Comparison, title: str, heads: Sequence[str], *, whole: Container[int] = ()) -> Table:
    table = rich_table(["", *heads], title=title, whole=whole)
    table.columns[0].min_width = min(24, max(map(len, made.arms)) + len("   !"))
    return table


def interval_text(ends: Interval, measure: Measure, *, sign: bool = False) -> str:
    """The ends of an interval; empty if there is none."""
    low, high = (shown(end, measure, scale=ends.mean, sign=sign) for end in (ends.low, ends.high))
    return "" if low == "-" else f"{low} .. {high}"


def _notes(found: Finding, db: str) -> Iterator[str]:
    yield "Means over seeds with their 95 % intervals: Student's t, skewness-corrected on the side of the longer tail."
    if not found.experiment.paired:
        yield "The arms have different people, so nothing is paired: compare the intervals."
    else:
        yield (
            f"Differences from {found.arms.reference}, paired by seed, are stored with their intervals and p-values; "
            f"those of the primary outcome, {found.arms.primary}, are also adjusted over the arms."
        )
    if OWN_SHARE in found.arms.measures:
        yield f"{OWN_SHARE}: the law's share of ORACLE's gain over 50 %, each arm by its own objective."
    yield from few_notes(found.arms)
    if found.solved is not None:
        yield from found.solved.notes()
    yield from flag_notes(found.arms)
    yield where_stored(found.arms, db)


# -- for machines --------------------------------------------------------------------------------------------------


def as_json(found: Finding) -> dict[str, Any]:
    """The finding as plain data."""
    made = {"experiment": found.name, "question": found.experiment.question, **contrast_tables.as_json(found.arms)}
    if found.solved is not None:
        made["ahead_of_oracle"] = found.solved.firsts()
    if found.labs:
        made["elections"] = election_tables.rules_as_json(found.labs)
    return made


def as_rows(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """One row per experiment, arm and measure."""
    return [{"experiment": found.name, **row} for found in findings for row in contrast_tables.as_rows(found.arms)]
