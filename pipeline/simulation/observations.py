"""Turn the state of the simulation into the texts of prompts (signatures/texts), which say what rounding they do.

A change of what is shown changes prompts, and tests/golden shows it in the diff.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Literal

import numpy as np

from pipeline.economy.baselines import Setting
from pipeline.economy.population import Population
from pipeline.economy.tax import bracket_of, people_in_brackets
from pipeline.economy.utility import Economy
from pipeline.simulation.memory import Floats, PlannerMemory, WorkerMemory
from programs.adapters import untrusted_text
from signatures.texts.ballot import Candidate, Candidates, Person, candidate_name
from signatures.texts.planner import BracketRow, EconomySummary, PlannerRecord, RateChanges, Satisfaction, ScheduleTried
from signatures.texts.worker import (
    FULL_TIME,
    BestYear,
    HoursTried,
    Objective,
    UtilityFormula,
    WorkerRecord,
    YearWorked,
    welfare_in_words,
)
from signatures.types import TaxSchedule

MOST_HOURS_ROWS = 8
VERBATIM_YEARS = 2


def utility_formula(economy: Economy, num_agents: int, taste: float | None = None) -> UtilityFormula:
    """The worker's own utility with its numbers, so that the optimum can be computed. `taste`: its factor on the cost
    of effort."""
    cost = economy.weeks * economy.c
    return UtilityFormula(cost if taste is None else cost * taste, economy.delta, num_agents)


def objective(utility_type: str, setting: Setting, num_agents: int, taste: float | None = None) -> Objective:
    """A worker's objective: own utility, with its own `taste`, or social welfare or its negative, in which the cost of
    effort is the usual one."""
    if utility_type == "egotistical":
        return Objective(utility_formula(setting.economy, num_agents, taste))
    utility = utility_formula(setting.economy, num_agents)
    verb: Mapping[str, Literal["Maximize", "Minimize"]] = {"altruistic": "Maximize", "adversarial": "Minimize"}
    return Objective(utility, welfare_in_words(setting.welfare, setting.inequality_aversion), verb[utility_type])


def planner_objective(setting: Setting, num_agents: int, *, halved: bool) -> Objective:
    """The planner's objective. `halved`: the utility of dissatisfied workers counts half."""
    return replace(objective("altruistic", setting, num_agents), halved=halved)


def worker_record(memory: WorkerMemory, agent: int, schedule: TaxSchedule) -> WorkerRecord:
    """The worker's record: statistics by hours tried, the most recent years, and the best year."""
    rows = memory.rows()
    if not len(rows):
        return WorkerRecord()
    hours, value = memory.hours[rows, agent].tolist(), memory.value[rows, agent].tolist()
    last = [
        YearWorked(
            int(memory.year[row]),
            memory.hours[row, agent],
            memory.income[row, agent],
            memory.tax[row, agent],
            memory.value[row, agent],
        )
        for row in rows[-VERBATIM_YEARS:].tolist()
    ]
    best = value.index(max(value))
    tried = _by_hours(hours, value, memory.under(schedule))
    return WorkerRecord(tuple(tried), tuple(last), BestYear(hours[best], value[best]))


def _by_hours(hours: Sequence[float], value: Sequence[float], now: Sequence[bool]) -> list[HoursTried]:
    """A row for each number of hours tried; if there are too many, those tried under this schedule have priority."""
    tried: dict[float, tuple[list[float], list[float]]] = {}
    for h, v, is_now in zip(hours, value, now, strict=True):
        mine, here = tried.setdefault(h, ([], []))
        mine.append(v)
        if is_now:
            here.append(v)
    shown = sorted(tried)
    if len(shown) > MOST_HOURS_ROWS:
        shown.sort(key=lambda h: (not tried[h][1], -fmean(tried[h][0])))
        shown = sorted(shown[:MOST_HOURS_ROWS])
    return [
        HoursTried(h, fmean(mine), len(mine), fmean(here) if here else None, len(here))
        for h in shown
        for mine, here in [tried[h]]
    ]


def economy_summary(
    schedule: TaxSchedule,
    *,
    income: Floats,
    utility: Floats,
    hours: Floats,
    rebate: float,
    welfare: float,
    satisfied: tuple[int, int] | None = None,
) -> EconomySummary:
    """A year's economy: workers and mean income by bracket, distribution of utility, hours, rebate, welfare.

    `satisfied`: the number of satisfied workers, and of all who gave a verdict.
    """
    bracket = bracket_of(schedule, income)
    rows = [
        BracketRow(edge, int(workers), float(income[bracket == j].mean()) if workers else None)
        for j, (edge, workers) in enumerate(zip(schedule.thresholds, people_in_brackets(schedule, income), strict=True))
    ]
    low, middle, high = map(float, np.quantile(utility, [0.1, 0.5, 0.9]))
    said = None if satisfied is None else Satisfaction(*satisfied)
    return EconomySummary(tuple(rows), (low, middle, high), float(hours.mean()), rebate, welfare, said)


def planner_record(memory: PlannerMemory) -> PlannerRecord:
    """One row per schedule tried: rates, settled welfare, mean welfare, years."""
    return PlannerRecord(
        tuple(ScheduleTried(r.schedule.rates, r.settled, r.mean_welfare, r.years) for r in memory.shown())
    )


def _short(occupation: str, most: int = 60) -> str:
    """An occupation, shortened to fit on a ballot."""
    return occupation if len(occupation) <= most else f"{occupation[: most - 3]}..."


def candidates(
    platforms: Mapping[int, Sequence[int] | None], population: Population, *, voter: int, with_platforms: bool
) -> Candidates:
    """The candidates on a voter's ballot: who they are, what they earn and, with platforms, what they propose."""
    lines = []
    for agent, changes in platforms.items():
        census = population.demographics(agent)
        person = None
        if census is not None:
            occupation = _short(untrusted_text.part(census.occupation, 200))
            person = Person(occupation, census.sex.lower(), census.age)
        lines.append(
            Candidate(
                candidate_name(agent),
                income=float(population.wage[agent] * FULL_TIME),
                own=agent == voter,
                person=person,
                platform=RateChanges.of(changes) if with_platforms else None,
            )
        )
    return Candidates(tuple(lines))
