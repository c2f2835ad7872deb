"""Turn the state of the simulation into the texts of prompts; signatures/texts documents their rounding.

Any change of these texts changes prompts, and appears in the diff of tests/golden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from types import MappingProxyType
from typing import Literal

import numpy as np

from pipeline.economy.baselines import Setting
from pipeline.economy.population import Population
from pipeline.economy.tax import bracket_of, people_in_brackets, tax
from pipeline.economy.utility import Economy, effort_cost
from pipeline.economy.welfare import own_function
from pipeline.simulation.memory import Floats, PlannerMemory, WorkerMemory
from programs.adapters import untrusted_text
from signatures.texts.ballot import Candidate, Candidates, Person, Prospect, candidate_name
from signatures.texts.layouts import LAYOUTS, PLAIN, Layout
from signatures.texts.objective import Objective, UtilityFormula, Worth, welfare_in_words
from signatures.texts.planner import BracketRow, EconomySummary, PlannerRecord, RateChanges, Satisfaction, ScheduleTried
from signatures.texts.worker import FULL_TIME, BestYear, HoursTried, Kept, WorkerRecord, YearWorked
from signatures.types import Demographics, TaxSchedule

TABLE, BY_YEAR = LAYOUTS["worker"][PLAIN], LAYOUTS["planner"][PLAIN]

HOURS_SHOWN, WEEKS = (10, 20, 30, 40, 50, 60, 70), 52
"""Hours a week at which a worker is told what it would keep, and weeks a year."""

MOST_HOURS_ROWS = 8
VERBATIM_YEARS = 2


def utility_formula(economy: Economy, num_agents: int, agent: int | None = None) -> UtilityFormula:
    """The worker's own utility with its numbers, so that the optimum can be computed. `agent`: whose costs it has;
    None: the usual cost of effort, and that each worker has its own fixed cost of work, if there are any."""
    costs, worth = economy.participation_costs, worth_of_consumption(economy)
    if agent is None:
        usual = UtilityFormula(economy.weeks * economy.c, economy.delta, num_agents, worth=worth)
        return usual if costs is None else replace(usual, fixed=None)
    cost, power = np.broadcast_arrays(economy.effort, economy.power)
    own = agent if cost.ndim else ()
    fixed = 0.0 if costs is None else float(costs[agent])
    return UtilityFormula(float(cost[own]), float(power[own]), num_agents, fixed=fixed, worth=worth)


def worth_of_consumption(economy: Economy, *, told: bool = True) -> Worth | None:
    """What consumption is worth, in the prompt's words; None without income effects. `told`: whether by its formula."""
    if not economy.gamma:
        return None
    return Worth(economy.gamma, economy.reference) if told else Worth(told=False)


def objective(
    utility_type: str, setting: Setting, num_agents: int, agent: int | None = None, *, formula: bool = True
) -> Objective:
    """A worker's objective: own utility, with the cost of effort of `agent`, or social welfare or its negative, with
    the usual cost. `formula`: whether it has the formula of utility. If no cost is the usual one, the formula of social
    welfare has none."""
    formula = formula and (utility_type == "egotistical" or setting.economy.usual)
    utility = utility_formula(setting.economy, num_agents, agent if utility_type == "egotistical" else None)
    if not formula:
        utility = UtilityFormula(None, 0.0, num_agents, worth=worth_of_consumption(setting.economy, told=False))
    utility = replace(utility, spending=setting.spending)
    if utility_type == "egotistical":
        return Objective(utility)
    verb: Mapping[str, Literal["Maximize", "Minimize"]] = {"altruistic": "Maximize", "adversarial": "Minimize"}
    own = own_function(setting.welfare)
    words = own.words if own is not None else welfare_in_words(setting.welfare, setting.inequality_aversion)
    return Objective(utility, words, verb[utility_type])


def planner_objective(setting: Setting, num_agents: int, *, halved: bool) -> Objective:
    """The planner's objective. `halved`: the utility of dissatisfied workers counts half."""
    return replace(objective("altruistic", setting, num_agents), halved=halved)


def worker_record(
    memory: WorkerMemory,
    agent: int,
    schedule: TaxSchedule,
    layout: Layout = TABLE,
    *,
    wage: float | None = None,
    economy: Economy | None = None,
) -> WorkerRecord:
    """The worker's record: statistics by hours tried, the most recent years, and the best year.

    With the layout's `kept` and a `wage`, also what the worker would keep after tax; with its `effort`, less the cost
    of effort in the `economy` of this worker alone.
    """
    rows, kept = memory.rows(), tuple[Kept, ...]()
    effort = layout.effort and economy is not None
    if wage is not None and (layout.kept or effort):
        kept = kept_after_tax(schedule, wage, economy if effort else None)
    if not len(rows):
        return WorkerRecord(kept=kept, effort=effort)
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
    tried = tuple(_by_hours(hours, value, memory.under(schedule)))
    year = value.index(max(value))
    here = _best_here(tried) if layout.present else None
    best = here or BestYear(hours[year], value[year])
    return WorkerRecord(tried, tuple(last), best, kept, layout.record, effort, here is not None)


def _best_here(tried: Sequence[HoursTried]) -> BestYear | None:
    """The hours with the highest mean value under the present schedule; None if none were tried under it."""
    here = [BestYear(row.hours, row.here) for row in tried if row.here is not None]
    return max(here, key=lambda row: row.value, default=None)


def kept_after_tax(schedule: TaxSchedule, wage: float, economy: Economy | None = None) -> tuple[Kept, ...]:
    """Income after tax at each of `HOURS_SHOWN`, in dollars a year, for an hourly `wage`.

    With the `economy` of one worker, less its cost of effort.
    """
    hours = np.array(HOURS_SHOWN, dtype=float)
    income = wage * WEEKS * hours
    cost = 0.0 if economy is None else effort_cost(economy, hours[:, None])[:, 0]
    return tuple(map(Kept, HOURS_SHOWN, (income - tax(schedule, income) - cost).tolist()))


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
    spending: float = 0.0,
) -> EconomySummary:
    """A year's economy: workers and mean income by bracket, distribution of utility, hours, rebate, welfare.

    `satisfied`: the number of satisfied workers, and of all who gave a verdict. `spending`: dollars a person.
    """
    bracket = bracket_of(schedule, income)
    rows = [
        BracketRow(edge, int(workers), float(income[bracket == j].mean()) if workers else None)
        for j, (edge, workers) in enumerate(zip(schedule.thresholds, people_in_brackets(schedule, income), strict=True))
    ]
    low, middle, high = map(float, np.quantile(utility, [0.1, 0.5, 0.9]))
    said = None if satisfied is None else Satisfaction(*satisfied)
    return EconomySummary(tuple(rows), (low, middle, high), float(hours.mean()), rebate, welfare, said, spending)


def planner_record(memory: PlannerMemory, layout: Layout = BY_YEAR, *, now: TaxSchedule | None = None) -> PlannerRecord:
    """One row per schedule tried: rates, settled welfare, mean welfare, years.

    With the layout's `way_back`, also the changes that lead from the schedule `now` back to the best.
    """
    return PlannerRecord(
        tuple(ScheduleTried(r.schedule.rates, r.settled, r.mean_welfare, r.years) for r in memory.shown()),
        layout.schedules,
        now.rates if layout.way_back and now is not None else None,
    )


def _short(occupation: str, most: int = 60) -> str:
    """An occupation, shortened to fit on a ballot."""
    return occupation if len(occupation) <= most else f"{occupation[: most - 3]}..."


def candidates(
    platforms: Mapping[int, Sequence[int] | None],
    population: Population,
    *,
    voter: int,
    with_platforms: bool,
    prospects: Mapping[int, Prospect] = MappingProxyType({}),
) -> Candidates:
    """The candidates on a voter's ballot: who they are, what they earn and, with platforms, what they propose.

    `prospects`: by candidate, what its platform would change for the voter.
    """
    return Candidates(
        tuple(
            candidate(
                agent,
                float(population.wage[agent]),
                population.demographics(agent),
                own=agent == voter,
                platform=changes,
                with_platform=with_platforms,
                prospect=prospects.get(agent) if with_platforms else None,
            )
            for agent, changes in platforms.items()
        )
    )


def candidate(
    agent: int,
    wage: float,
    census: Demographics | None,
    *,
    own: bool,
    platform: Sequence[int] | None,
    with_platform: bool,
    prospect: Prospect | None = None,
) -> Candidate:
    """One line of a ballot: worker `agent` with its `wage` in dollars an hour; `own`: the voter itself."""
    person = None
    if census is not None:
        occupation = _short(untrusted_text.part(census.occupation, 200))
        person = Person(occupation, census.sex.lower(), census.age)
    return Candidate(
        candidate_name(agent),
        income=wage * FULL_TIME,
        own=own,
        person=person,
        platform=RateChanges.of(platform) if with_platform else None,
        prospect=prospect,
    )
