"""Runs side by side: paired differences of the same workers in the same years, and the results of stored studies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evals.compare.statistics import interval
from evals.explore import elements, markup
from evals.explore.markup import Html
from evals.explore.source import Place, Source
from evals.output.number_format import number
from evals.output.tables import Table
from evals.policies.loaded_run import MOST_RUNS

MEASURES = {
    "utility": "utility, dollars a year",
    "labor": "hours a week",
    "income": "income, dollars a year",
    "regret": "regret, dollars a year",
    "satisfied::INTEGER": "satisfied, share of verdicts",
}

MOST_WORKERS = 20_000
"""Workers that are paired; of a larger population, every n-th."""

MEANS = """
SELECT agent, any_value(wage) AS wage, {columns}
FROM (SELECT d.*, a.wage FROM decisions d JOIN agents a ON a.run_id = d.run_id AND a.agent = d.agent
      WHERE d.run_id = $1 AND d.year < $2 AND d.agent % $3 = 0)
GROUP BY agent ORDER BY agent
"""

STUDIES = """
SELECT left(study, 60) AS study, left(arm, 60) AS arm, left(reference, 60) AS reference, left(metric, 60) AS metric,
       score, low, high, p, p_holm, runs
FROM evaluations WHERE subject = 'difference' ORDER BY created_at DESC, study, arm, metric LIMIT 200
"""


def controls(source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The runs; the first is the reference."""
    return {"runs": elements.runs(source, most=MOST_RUNS, fewest=2)}


def picker(source: Source, values: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Nothing to click."""


def view(source: Source, values: Mapping[str, Any], picked: Any) -> Html:
    """A table for each run against the first, and the stored studies."""
    places: list[Place] = list(values["runs"])
    rows = source.runs()
    parts: list[Html] = []
    if len(places) < 2:
        parts.append(markup.paragraph("Choose two or more runs; the first is the reference."))
    else:
        years = min(int(rows[place]["years"]) for place in places)
        step = -(-max(int(rows[place]["num_agents"]) for place in places) // MOST_WORKERS)
        means = {place: _means(source, place, years, step) for place in places}
        parts += [_against(places[0], place, means, years, step) for place in places[1:]]
        parts.append(
            markup.paragraph(
                "Intervals (95 %) are over the workers of these two economies. They do not cover other populations: "
                "for that, play several seeds with llm-economist compare."
            )
        )
    return markup.joined(*parts, *_studies(source))


def _means(source: Source, place: Place, years: int, step: int) -> dict[int, dict[str, Any]]:
    """Each worker's means over the first `years`."""
    columns = ", ".join(f'avg({column}) AS "{name}"' for column, name in MEASURES.items())
    with source.reading(place.db) as reader:
        found = reader.rows(MEANS.format(columns=columns), [place.run_id, years, step])
    return {row["agent"]: row for row in found}


def _against(
    reference: Place, place: Place, means: Mapping[Place, Mapping[int, Mapping[str, Any]]], years: int, step: int
) -> Html:
    """The differences between a run and the reference, paired by worker."""
    ours, theirs = means[place], means[reference]
    shared = [agent for agent in ours if agent in theirs]
    title = markup.heading(f"Run {place.run_id} minus run {reference.run_id}")
    if not shared or not years:
        return Html(title + markup.paragraph("They have no year of the same workers in common."))
    same = all(ours[agent]["wage"] == theirs[agent]["wage"] for agent in shared)
    warning = (
        "" if same else markup.paragraph("The workers' wages differ: these are not the same people.", kind="warning")
    )
    cells = []
    for name in MEASURES.values():
        pairs = [(ours[agent][name], theirs[agent][name]) for agent in shared]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        if known:
            found = interval([a - b for a, b in known])
            levels = [number(sum(side) / len(known)) for side in zip(*known, strict=True)]
            cells.append([name, *levels, number(found.mean), f"{number(found.low)} to {number(found.high)}"])
    head = ["mean", f"run {place.run_id}", f"run {reference.run_id}", "difference", "95 % interval"]
    some = f", every {step}th of them" if step > 1 else ""
    caption = f"{len(shared):,} workers{some}, paired by number, means over the first {years:,} years."
    return Html(title + warning + markup.table(Table(caption, head, cells, numeric=frozenset({1, 2, 3, 4}))))


def _studies(source: Source) -> list[Html]:
    """Paired differences that `compare` and `experiment` have stored."""
    found: list[Html] = []
    head = ["study", "arm", "minus", "outcome", "difference", "95 % interval", "p", "p (Holm)", "pairs"]
    for path in source.paths:
        with source.reading(path) as reader:
            rows = reader.rows(STUDIES)
        cells = [
            [
                *(str(row[name] or "") for name in ("study", "arm", "reference", "metric")),
                number(row["score"]),
                f"{number(row['low'])} to {number(row['high'])}",
                *(number(row[name]) for name in ("p", "p_holm")),
                str(row["runs"] or ""),
            ]
            for row in rows
        ]
        if cells:
            found += [
                markup.heading("Stored comparisons"),
                markup.table(Table(path, head, cells, frozenset(range(4, 9)))),
            ]
    return found
