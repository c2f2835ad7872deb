"""`llm-economist experiment paper`: one row per published claim, with our value, its interval and the deviation.

The claims and their published values are in docs/paper_targets.toml; how ours are measured is here. The runs are those
of ordinary experiments: stored, reused, resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.compare.command import results_of
from evals.compare.run_measures import Figures
from evals.compare.statistics import Interval, interval
from evals.experiments.declaration import Experiment
from evals.sweep.cells import Cell
from evals.sweep.sweep import Sweep
from pipeline.errors import UsageError
from pipeline.store.reader import ReadOnlyStore
from programs.text_files import read_toml

NAME = "paper"
TARGETS = "paper_targets.toml"
TAX_YEARS = 8
"""Tax years of each run in which the length of a tax year varies."""

SMALL: Mapping[str, Any] = {"num_agents": 10, "max_timesteps": 80, "two_timescale": 8}
FEDERAL: Mapping[str, Any] = {"bracket_setting": "US_FED"}


class Target(BaseModel):
    """A published claim. `value`: in the unit of its row, or "unknown". `why`: what makes our setting differ."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: str
    value: float | Literal["unknown"]
    source: str
    status: Literal["read", "second-hand"]
    why: str


def targets() -> dict[str, Target]:
    """The published claims by row. UsageError if the file does not fit the rows."""
    packed = files("evals").joinpath("experiments", TARGETS)
    path = str(packed) if packed.is_file() else str(Path(__file__).parents[2] / "docs" / TARGETS)
    try:
        found = {name: Target.model_validate(table) for name, table in read_toml(path).items()}
    except (OSError, ValueError, ValidationError) as error:
        raise UsageError(f"{path} cannot be used: {' '.join(str(error).split())[:300]}") from error
    if odd := sorted(set(found) ^ {row for claim in CLAIMS.values() for row in claim.rows}):
        raise UsageError(f"{path} and the rows of the experiment differ in: {', '.join(odd)}")
    return found


@dataclass(frozen=True)
class Row:
    """How a claim is measured: `measure` of the runs of `arm`, minus that of the arm `reference`, paired by seed.

    `relative`: the difference as a share of the reference. `percent`: a share, shown in percent.
    """

    arm: str
    measure: str
    reference: str | None = None
    relative: bool = False
    percent: bool = True

    def values(self, figures: Mapping[tuple[str, int], Figures], seeds: Sequence[int]) -> list[float]:
        """One value per seed; seeds without one (too little to gain, no elections) are left out."""
        return [value for seed in seeds if (value := self._value(figures, seed)) is not None]

    def _value(self, figures: Mapping[tuple[str, int], Figures], seed: int) -> float | None:
        own = figures[self.arm, seed][self.measure]
        if self.reference is None or own is None:
            return own
        other = figures.get((self.reference, seed), {}).get(self.measure)  # `rules` is not compared with itself
        if other is None or (self.relative and other == 0):
            return None
        return (own - other) / abs(other) if self.relative else own - other


@dataclass(frozen=True)
class Claim:
    """Claims that share runs: the `experiment` that plays them, and the rows of the table by their name."""

    experiment: Experiment
    rows: Mapping[str, Row] = field(default_factory=dict)


def _lengths(flag: str, values: Sequence[int], measure: str, prefix: str, **more: Any) -> Claim:
    """A claim for each value of a flag."""
    arms = {str(value): {flag: value} for value in values}
    question = f"What does --{flag.replace('_', '-')} change?"
    experiment = Experiment(question=question, settings={"scenario": "rational"}, defaults=SMALL, arms=arms, **more)
    return Claim(experiment, {f"{prefix}_{value}": Row(str(value), measure) for value in values})


CLAIMS: Mapping[str, Claim] = {
    "optimum": Claim(
        Experiment(
            question="How near the optimum is a planner with seven brackets, and where do workers end?",
            settings={"scenario": "rational", "planner_type": "LLM"},
            defaults={**SMALL, **FEDERAL},
            arms={"model": {}, "rules": {"llm": "rules"}, "explore_only": {"exploitation": False}},
        ),
        {
            "near_optimum": Row("model", "planner_share"),
            "no_exploitation": Row("explore_only", "welfare", reference="model", relative=True),
            "model": Row("model", "planner_share", reference="rules"),
            "moved_down": Row("model", "moved_down"),
        },
    ),
    "bounded": Claim(
        Experiment(
            question="What does the planner gain over the statutory law, among people with personas?",
            settings={"scenario": "bounded"},
            defaults={**SMALL, **FEDERAL},
            arms={"US_FED": {"planner_type": "US_FED"}, "LLM": {"planner_type": "LLM"}},
        ),
        {"bounded_gain": Row("LLM", "welfare_last_tax_year", reference="US_FED", relative=True)},
    ),
    "tax_year": _lengths("two_timescale", (8, 16, 32, 64, 128), "planner_share", "tax_year", tax_years=TAX_YEARS),
    "history": _lengths("history_len", (8, 16, 32, 64, 128, 256), "regret_share", "history"),
    "elections": Claim(
        Experiment(
            question="How do those who did not vote for the leader fare?",
            settings={"scenario": "democratic", "planner_type": "LLM", "platforms": True},
            defaults=SMALL,
            arms={"elections": {}},
        ),
        {"minority": Row("elections", "minority", percent=False)},
    ),
}
"""The claims, by the name of the experiment that plays their runs."""


MORE = """
WITH chosen AS (SELECT unnest(?::INTEGER[]) AS run_id),
placed AS (
    SELECT p.run_id, p.agent, p.year, len(list_filter(y.thresholds, lambda edge: edge <= p.income)) AS bracket,
           p.year // (r.config ->> 'two_timescale')::INTEGER AS tax_year
    FROM panel p JOIN years y USING (run_id, year) JOIN runs r USING (run_id) WHERE p.run_id IN (FROM chosen)),
ends AS (
    SELECT run_id, agent, arg_min(bracket, year) AS first,
           avg(bracket) FILTER (tax_year = last_tax_year) AS last
    FROM (SELECT *, max(tax_year) OVER (PARTITION BY run_id) AS last_tax_year FROM placed) GROUP BY run_id, agent),
moved AS (SELECT run_id, avg((last < first)::INTEGER) AS moved_down FROM ends GROUP BY run_id),
sides AS (
    SELECT v.run_id, v.candidate IS NOT DISTINCT FROM y.leader AS won, d.utility
    FROM votes v
    JOIN years y ON y.run_id = v.run_id AND y.year = v.year
    JOIN runs r ON r.run_id = v.run_id
    JOIN decisions d ON d.run_id = v.run_id AND d.agent = v.voter AND d.year >= v.year
        AND d.year < v.year + (r.config ->> 'two_timescale')::INTEGER
    WHERE v.run_id IN (FROM chosen)),
minority AS (
    SELECT run_id, avg(utility) FILTER (NOT won) - avg(utility) FILTER (won) AS minority FROM sides GROUP BY run_id)
SELECT run_id, moved_down, minority FROM moved LEFT JOIN minority USING (run_id) ORDER BY run_id
"""
"""Figures of runs that no other experiment needs. A term lasts until the next election."""


@dataclass(frozen=True)
class Found:
    """A row of the table: the published claim, our mean over `seeds` values with its interval, and the deviation."""

    name: str
    target: Target
    row: Row
    ours: Interval
    seeds: int

    @property
    def deviation(self) -> float | None:
        """Ours minus the published value; None if that is unknown."""
        return None if isinstance(self.target.value, str) or not self.seeds else self.ours.mean - self.target.value


def measured(made: Mapping[str, Sequence[Cell]], runs: Mapping[str, int], db: str, welfare: str) -> list[Found]:
    """The rows of the table, from the finished `runs` (by `Cell.key`) of the cells of each claim."""
    published, found = targets(), []
    for name, claim in CLAIMS.items():
        cells = made[name]
        figures = {(one.arm, one.seed): {**one.figures} for one in results_of(Sweep(cells, db), runs, welfare=welfare)}
        more = _more(db, [runs[cell.key] for cell in cells])
        for cell in cells:
            figures[cell.arm, cell.config.seed] |= more[runs[cell.key]]
        seeds = sorted({cell.config.seed for cell in cells})
        for label, row in claim.rows.items():
            values = row.values(figures, seeds)
            ours = interval(values) if values else Interval(*[float("nan")] * 3)
            found.append(Found(label, published[label], row, ours, len(values)))
    return found


def _more(db: str, runs: Sequence[int]) -> dict[int, Figures]:
    with ReadOnlyStore(db) as reader:
        rows = reader.rows(MORE, [sorted(set(runs))])
    return {row["run_id"]: {"moved_down": row["moved_down"], "minority": row["minority"]} for row in rows}
