"""`llm-economist incidence`: what a tax law costs and whom, from the exact economy (docs/incidence.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evals.policies.who_gains import references
from pipeline.config import build
from pipeline.economy.baselines import BASELINES, Setting
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.incidence import Incidence, incidence_of_law
from pipeline.economy.policy_support import quantile_groups
from pipeline.economy.public_finance.inverse_optimum import inverse_optimum
from pipeline.economy.public_finance.margins import Margins, margins
from pipeline.economy.public_finance.participation import participation
from pipeline.economy.public_finance.reforms import ParetoReform, Point, pareto_reforms, points
from pipeline.economy.public_finance.revenue import Peak, deadweight_loss, flat_revenue, laffer_peak
from pipeline.economy.tax import FloatArray
from pipeline.errors import UsageError
from pipeline.laws import law_schedule, with_law
from pipeline.simulation.restore import restore
from pipeline.simulation.world import create
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_run, schedule_of
from signatures.types import TaxSchedule

PEOPLE = 1_000
"""The number of workers for a law without a run."""

CURVE = np.arange(0.0, 101.0)
"""The flat rates of the Laffer curve, in percent."""


@dataclass(frozen=True)
class Subject:
    """A law, and the people and economy that it is for. `title`: for readers. `year`: of a stored run."""

    title: str
    law: TaxSchedule
    setting: Setting
    run_id: int | None = None
    year: int | None = None


@dataclass(frozen=True)
class Working:
    """The share of workers who work, from 0 to 1, and by how much it falls, in percent, if working leaves 1 % less."""

    rate: float
    elasticity: float


@dataclass(frozen=True, eq=False)
class LawFigures:
    """The figures on the law of `subject`; amounts in dollars a year per worker.

    `margins`, `points`: first-order and exact effects of one point in each bracket. `curve`: revenue of flat taxes at
    the rates `CURVE`. `weights`: inverse-optimum weights by decile of wages; empty with fewer than ten workers, None if
    there are no positive ones. `against`: who gains from the law relative to others, by their names. `participation`:
    None without fixed costs of work.
    """

    subject: Subject
    revenue: float
    income: float
    deadweight_loss: float
    margins: Margins
    points: list[Point]
    curve: FloatArray
    peak: Peak
    pareto: list[ParetoReform]
    weights: tuple[float, ...] | None
    against: dict[str, Incidence]
    participation: Working | None = None

    @property
    def closed_form_peak(self) -> float | None:
        """100/(1+e) percent, the peak for many workers below the most hours; None if elasticities differ, or if taxes
        also make workers stop."""
        economy = self.subject.setting.economy
        if np.ndim(economy.response) or economy.participation_costs is not None:
            return None
        return 100 / (1 + float(economy.response))


def _without_income_effects(found: Subject) -> Subject:
    """UsageError for an economy with income effects."""
    if gamma := found.setting.economy.gamma:
        raise UsageError(
            f"incidence: the formulas of public finance here have no income effects; {found.title} has "
            f"--utility crra --gamma {gamma:g}. `eval` and `run` compare laws in such an economy"
        )
    return found


def subject(
    run: str | None, law: str | None, *, year: int | None, db: str, people: Mapping[str, Any] | None = None
) -> Subject:
    """The law and the people to judge: of a run, of a run under another law, or of a law with `people` drawn for it.

    `people`: settings of the population. UsageError if there is no such run, year or law.
    """
    people = dict(people or {})
    if run is None:
        if law is None:
            raise UsageError("give a run or a law: llm-economist incidence 3, or incidence --law us-2024-single")
        if year is not None:
            raise UsageError(f"--year {year} is a year of a run; give one, or leave it out with --law alone")
        return _without_income_effects(_drawn(law, people))
    if people:
        flag = next(iter(people)).replace("_", "-")
        raise UsageError(f"--{flag} goes with --law and no run: run {run} has its own people")
    return _without_income_effects(_stored(run, law, year, db))


def _drawn(law: str, people: dict[str, Any]) -> Subject:
    try:
        world = create(build({"num_agents": PEOPLE, **people, "law": law}))
    except ValueError as error:
        raise UsageError(str(error)) from error
    count = f"{world.num_agents:,} worker{'s' if world.num_agents > 1 else ''}"
    return Subject(f"{law}, {count}", world.schedule, world.setting())


def _stored(run: str, law: str | None, year: int | None, db: str) -> Subject:
    with ReadOnlyStore(db) as reader:
        row = find_run(reader, run)
        run_id, config = int(row["run_id"]), config_of(dict(row))
        years = reader.rows("SELECT * FROM years WHERE run_id = ? ORDER BY year", [run_id])
        if not years:
            raise UsageError(f"run {run_id} has no complete year yet; there is no law to judge")
        last = int(years[-1]["year"])
        asked = last if year is None else year
        found = [one for one in years if one["year"] == asked]
        if not found:
            raise UsageError(f"--year {asked}: run {run_id} has years 0 to {last}")
        world = restore(reader, run_id, config, 0)
    world.begin(asked)
    title = f"run {run_id}, year {asked}"
    if law is None:
        return Subject(f"law of {title}", schedule_of(found[0]), world.setting(), run_id, asked)
    try:
        named = law_schedule(with_law({"law": law, "dollars_of": config.dollars_of})["law"], config.dollars_of)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return Subject(f"{law} for the people of {title}", named, world.setting(), run_id, asked)


def figures(about: Subject) -> LawFigures:
    """All figures on a law."""
    setting, law = about.setting, about.law
    economy, wages, windfall = setting.economy, setting.wages, setting.windfall
    now = equilibrium(economy, law, wages, windfall=windfall)
    small = margins(economy, law, wages)
    return LawFigures(
        subject=about,
        revenue=float(now.tax.mean()),
        income=float(now.income.mean()),
        deadweight_loss=deadweight_loss(economy, law, wages),
        margins=small,
        points=list(points(economy, law, wages, windfall=windfall)),
        curve=flat_revenue(economy, wages, CURVE),
        peak=laffer_peak(economy, wages),
        pareto=pareto_reforms(economy, law, wages),
        weights=by_decile(inverse_optimum(small), wages),
        against={
            name: incidence_of_law(economy, wages, law, other, windfall=windfall)
            for name, other in _others(setting, law).items()
        },
        participation=None if economy.participation_costs is None else _working(setting, law, now.labor),
    )


def _working(setting: Setting, law: TaxSchedule, hours: FloatArray) -> Working:
    """Participation, with the elasticity of all workers together if working leaves each of them 1 % less."""
    wages = setting.wages
    margin = participation(setting.economy, law.thresholds, [law.rates], wages, len(wages))
    moved, works = float((margin.kept * margin.density).sum()), float(margin.works.sum())
    return Working(float((hours > 0).mean()), moved / works if works else 0.0)


def by_decile(weights: FloatArray | None, wages: FloatArray) -> tuple[float, ...] | None:
    """Means by decile of wages; empty with fewer than ten workers, None without weights."""
    if weights is None:
        return None
    if len(wages) < 10:
        return ()
    group = quantile_groups(wages, 10)
    return tuple(float(weights[group == i].mean()) for i in range(10))


def _others(setting: Setting, law: TaxSchedule) -> dict[str, TaxSchedule]:
    """The laws to compare with, other than `law` itself: none at all, and those of `references`."""
    on_law = replace(setting, thresholds=law.thresholds, rates=())
    every = {"FREE_MARKET": BASELINES["FREE_MARKET"](setting), **references(on_law)}
    return {name: other for name, other in every.items() if other != law}
