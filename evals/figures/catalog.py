"""Every figure by name: one entry here makes it available to `llm-economist figure` and to the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evals.figures import by_decile, decisions, distributions, public_finance, schedules
from evals.figures.style import Drawing, Size
from evals.policies.loaded_run import LoadedRun
from pipeline.store.columns import Reader

PAGE, PHONE = 1040, 340
"""Width of a page in pixels on a desktop and on a phone."""

GAP = 40
"""Pixels between two adjacent figures."""

NO_FORMULAS = "the runs have income effects (--utility crra)"
"""Why figures of public finance are absent: their formulas know of none."""


@dataclass(frozen=True)
class Figure:
    """`caption` says how to read it; `prepare` reads the data, and returns None if the runs have none.

    `wide` figures take the full width of a page, the others half of it unless they show several runs. `height`: pixels
    of a plot on a desktop. `absent`: what is missing if there is nothing to draw. `in_year`: `prepare` for one year.
    """

    title: str
    caption: str
    prepare: Callable[[Reader, Sequence[LoadedRun]], Drawing | None]
    wide: bool = False
    height: int = 240
    absent: str = ""
    in_year: Callable[[Reader, Sequence[LoadedRun], int], Drawing | None] | None = None

    def spans(self, runs: int) -> bool:
        """Whether it takes the full width with this number of runs."""
        return self.wide or runs > 1

    def desk(self, runs: int) -> Size:
        return Size(PAGE if self.spans(runs) else (PAGE - GAP) // 2, self.height)

    @property
    def phone(self) -> Size:
        return Size(PHONE, min(self.height, 220))


FIGURES: Mapping[str, Figure] = {
    "schedule": Figure(
        "Tax schedule",
        "Marginal rate of each bracket over the years; the dashed line is the rate of ORACLE, the optimum at any "
        "rates for the same people if every worker best-responds, on the run's brackets.",
        schedules.schedule,
        wide=True,
        height=210,
    ),
    "welfare": Figure(
        "Welfare",
        "The planner's objective over the years, with the levels that planners without a model reach for the same "
        "people: the bold line judges the schedule alone, the thin one the years as played; no bold line is above "
        "ORACLE, the optimum at any rates on these brackets; ORACLE_GRID is the best in the planner's ten-point steps.",
        schedules.welfare,
        wide=True,
        height=320,
    ),
    "gains": Figure(
        "Gains by decile",
        "Change of utility by wage decile if the law of the last year, or ORACLE, replaces the law at the start and "
        "every worker best-responds to each: as there are no income effects, it is the equivalent variation, i.e. the "
        "lump sum in dollars a year that is worth as much to a worker.",
        by_decile.gains,
    ),
    "hours_by_decile": Figure(
        "Hours before and after the law changed",
        "Mean hours by wage decile, and below the mean marginal rate, in up to five years before and after the largest "
        "change of the rates or the one in --year: hours respond as theory says where they fall as the rate rises.",
        by_decile.hours_by_decile,
        height=170,
        absent="the law never changed",
        in_year=by_decile.hours_by_decile,
    ),
    "hours": Figure(
        "Hours",
        "Distribution of weekly hours, in bins of five: where the last tax year's outline lies left of the "
        "first one's, people work less than before.",
        distributions.hours,
    ),
    "lorenz": Figure(
        "Inequality",
        "Lorenz curves of the last year: the share of all income that the poorest hold; the closer to the diagonal, "
        "the more equal; the area between curve and diagonal is half the Gini coefficient.",
        distributions.lorenz,
    ),
    "income": Figure(
        "Income",
        "Incomes before tax, and after tax and rebate, on a logarithmic scale (less than $1,000 counts as $1,000): "
        "the narrower the outline on the right, the more redistribution.",
        distributions.income,
        wide=True,
        height=200,
    ),
    "regret": Figure(
        "Regret over the years",
        "Utility lost by not working the best hours, dollars a year, mean over workers: peaks after a "
        "change of rates show experiments, and what remains at the end was never learned.",
        decisions.regret,
        wide=True,
        height=190,
    ),
    "regret_by_wage": Figure(
        "Regret by wage",
        "Mean regret by wage decile: the lines lead from the first tax year to the last.",
        decisions.regret_by_wage,
    ),
    "best_hours": Figure(
        "Hours against the best hours",
        "Hours in the last tax year against the best hours under the same schedule and rebate: on "
        "the diagonal regret is zero; larger dots stand for more years of work.",
        distributions.best_hours,
    ),
    "satisfaction": Figure(
        "Satisfaction by occupation group",
        "Share of satisfied verdicts on the tax policy, by census group of occupations, over all years played.",
        decisions.satisfaction,
        absent="no worker with an occupation was asked for a verdict (scenarios bounded and democratic)",
    ),
    "satisfaction_over_years": Figure(
        "Satisfaction over the years",
        "Share of satisfied verdicts by tax year, for people who pay more tax than they get back and for the others: "
        "the gap shows how much paying net tax lowers consent.",
        decisions.satisfaction_over_years,
        absent="no worker was asked for a verdict (scenarios bounded and democratic)",
    ),
    "elections": Figure(
        "Elections",
        "Turnout, the winner's share of the votes, and the share of workers who earn less an hour than the winner.",
        schedules.elections,
        wide=True,
        height=190,
        absent="no election was held (scenario democratic)",
    ),
    "laffer": Figure(
        "Laffer curve",
        "Revenue per worker of a flat tax at each rate if every worker best-responds, its peak, and the revenue of the "
        "last law (docs/incidence.md).",
        public_finance.laffer,
        wide=True,
        absent=NO_FORMULAS,
    ),
    "mvpf": Figure(
        "Marginal value of public funds",
        "What workers would pay to avoid a rise of a bracket's rate in the last law, per dollar that it raises: at 1, "
        "the dashed line, it costs nothing beyond the revenue; a triangle at the top stands for more than 4, or for a "
        "rate that raises revenue if lowered.",
        public_finance.mvpf,
        absent=f"no worker earns anything, or {NO_FORMULAS}",
    ),
    "inverse_weights": Figure(
        "Welfare weights that make the law optimal",
        "Mean welfare weight by decile of wages under which no small change of a rate of the last law raises welfare; "
        "of all such weights the closest to equal ones, the dashed line.",
        public_finance.inverse_weights,
        absent=f"no positive weights make the last law optimal, there are fewer than ten workers, or {NO_FORMULAS}",
    ),
    "elasticity": Figure(
        "The elasticity that the workers showed",
        "Log income against the log net-of-tax rate within workers, in the last year of each law: each dot is the mean "
        "of a twentieth of the observations, by the net-of-tax rate at 40 hours, and the slope is the elasticity.",
        public_finance.elasticity,
        absent="the law did not change",
    ),
    "cost": Figure(
        "Tokens",
        "Tokens of prompts and replies by question, including failed attempts.",
        decisions.cost,
        wide=True,
        absent="no model was asked",
    ),
}
"""In the order of the report."""
