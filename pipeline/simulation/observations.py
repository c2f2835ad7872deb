"""From the state of the world to the input fields of a signature: numbers rounded to what matters.

Every function here returns text that a model reads and that the `rules` engine must be able to parse, so a
change of wording is a change of prompt: tests/golden shows it in the diff.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from pipeline.economy.baselines import Setting
from pipeline.economy.population import Population
from pipeline.economy.tax import bracket_of, people_in_brackets
from pipeline.economy.utility import Economy
from pipeline.simulation.memory import Floats, PlannerMemory, ScheduleRecord, WorkerMemory
from programs.adapters import untrusted_text
from signatures.types import TaxSchedule

MOST_HOURS_ROWS = 8
VERBATIM_YEARS = 2

WELFARE_WORDS: Mapping[str, str] = {
    "inverse_income": "the mean utility of all workers, weighted by 1 / income at 40 hours a week",
    "paper": "the sum over workers of utility / own pre-tax income",
    "utilitarian": "the mean utility of all workers",
    "rawlsian": "the utility of the worst-off worker",
    "atkinson": "the geometric mean of all workers' utilities",
    "equality_productivity": "(1 - gini of utilities) * mean pre-tax income",
}


def money(value: float) -> str:
    """`$12,345`, with the sign in front."""
    dollars = round(value)
    return f"-${-dollars:,}" if dollars < 0 else f"${dollars:,}"


def figure(value: float) -> str:
    """About five digits, never in exponents: models misread those, and `rules` cannot read them."""
    places = 4 if value == 0 else min(15, max(0, 4 - math.floor(math.log10(abs(value)))))
    return f"{value:.{places}f}"


def utility_in_words(economy: Economy, num_agents: int) -> str:
    """The worker's own utility as a formula with its numbers, so that the optimum can be computed."""
    cost = f"{economy.weeks * economy.c:.4g} * hours^{economy.delta:g}"
    return f"income after tax + rebate - {cost}, in dollars a year; rebate = taxes of all workers / {num_agents}"


def welfare_in_words(welfare: str, inequality_aversion: float) -> str:
    """A welfare function as the model reads it."""
    if welfare == "atkinson" and inequality_aversion != 1:
        power = f"{1 - inequality_aversion:g}"
        return f"(mean over workers of utility^({power}))^(1/({power}))"
    return WELFARE_WORDS[welfare]


def objective(utility_type: str, setting: Setting, num_agents: int) -> str:
    """What a worker wants: own utility, social welfare, or its opposite."""
    utility = utility_in_words(setting.economy, num_agents)
    if utility_type == "egotistical":
        return f"Maximize your utility = {utility}"
    verb = {"altruistic": "Maximize", "adversarial": "Minimize"}[utility_type]
    return (
        f"{verb} social welfare = {welfare_in_words(setting.welfare, setting.inequality_aversion)}; utility = {utility}"
    )


def planner_objective(setting: Setting, num_agents: int, *, halved: bool) -> str:
    """What the planner wants. `halved`: dissatisfaction with the tax policy halves what a worker's year counts."""
    words = objective("altruistic", setting, num_agents)
    return f"{words}; the utility of a worker who is not satisfied with the tax policy counts half" if halved else words


def identity(persona: str | None, wage: float) -> str:
    """Who the worker is: the persona if there is one, and what an hour and a year of its work pay."""
    pay = f"You earn ${wage:.2f} an hour, {money(wage * 40 * 52)} a year at 40 hours a week."
    return f"{persona or 'You are a worker.'} {pay}"


def last_rebate(rebate: float | None) -> str:
    return "none yet" if rebate is None else money(rebate)


def worker_record(memory: WorkerMemory, agent: int, schedule: TaxSchedule) -> str:
    """The worker's own years as statistics by hours tried, the last years verbatim, and the best year."""
    rows = memory.rows()
    if not len(rows):
        return "no years yet"
    hours, value = memory.hours[rows, agent].tolist(), memory.value[rows, agent].tolist()
    lines = ["hours: mean value (years); under this schedule", *_by_hours(hours, value, memory.under(schedule))]
    lines.append("last years: hours, income, tax, value")
    for row in rows[-VERBATIM_YEARS:].tolist():
        figures = (memory.income[row, agent], memory.tax[row, agent], memory.value[row, agent])
        lines.append(
            f"{memory.year[row]}: {memory.hours[row, agent]:g}, " + ", ".join(f"{x:.{_places(x)}f}" for x in figures)
        )
    best = value.index(max(value))
    lines.append(f"best: {hours[best]:g} hours, {value[best]:.{_places(value[best])}f}")
    return "\n".join(lines)


def _places(value: float) -> int:
    """Decimals worth showing: none for dollars, three for welfare near one."""
    return 0 if abs(value) >= 1000 else 3


def _by_hours(hours: Sequence[float], value: Sequence[float], now: Sequence[bool]) -> list[str]:
    """One line per hours tried; those tried under this schedule come first when there is no room for all."""
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
    return [_tried_in_words(h, *tried[h]) for h in shown]


def _tried_in_words(hours: float, mine: Sequence[float], here: Sequence[float]) -> str:
    """`40: 31000 (5); 30500 (2)`: mean value of these hours, and of the years under this schedule."""
    mean = fmean(mine)
    places = _places(mean)
    current = f"{fmean(here):.{places}f} ({len(here)})" if here else "-"
    return f"{hours:g}: {mean:.{places}f} ({len(mine)}); {current}"


def year_summary(*, hours: float, income: float, tax: float, rebate: float, utility: float) -> str:
    """One worker's year, as it is told when asked to judge the tax policy."""
    return (
        f"You worked {hours:g} hours a week, earned {money(income)}, paid {money(tax)} in tax and received a "
        f"rebate of {money(rebate)}. Your utility was {money(utility)}."
    )


def satisfaction_in_words(satisfied: tuple[int, int]) -> str:
    """How many were satisfied with the tax policy, of how many who said."""
    return f"satisfied with the tax policy: {satisfied[0]} of {satisfied[1]} workers who said"


def economy_summary(
    schedule: TaxSchedule,
    *,
    income: Floats | None,
    utility: Floats,
    hours: Floats,
    rebate: float,
    welfare: float,
    satisfied: tuple[int, int] | None = None,
) -> str:
    """Last year's economy: workers and mean income by bracket, spread of utility, hours, rebate, welfare.

    `satisfied`: how many were satisfied with the tax policy, of how many who said.
    """
    if income is None:
        return "no years yet"
    bracket, lines = bracket_of(schedule, income), []
    for j, (edge, workers) in enumerate(zip(schedule.thresholds, people_in_brackets(schedule, income), strict=True)):
        mean = f", mean income {money(float(income[bracket == j].mean()))}" if workers else ""
        lines.append(f"from {money(edge)}: {workers} workers{mean}")
    low, mid, high = np.quantile(utility, [0.1, 0.5, 0.9])
    lines.append(f"utility at the 10th/50th/90th percentile: {money(low)} / {money(mid)} / {money(high)}")
    lines.append(f"mean hours {hours.mean():.1f}, rebate {money(rebate)}, welfare {figure(welfare)}")
    if satisfied is not None:
        lines.append(satisfaction_in_words(satisfied))
    return "\n".join(lines)


def planner_record(memory: PlannerMemory) -> str:
    """One line per schedule tried: rates, settled welfare, mean welfare, years."""
    records = memory.shown()
    if not records:
        return "no years yet"
    return "\n".join(["rates: settled welfare, mean welfare (years)", *map(_record_line, records)])


def _record_line(record: ScheduleRecord) -> str:
    rates = "/".join(f"{rate:g}" for rate in record.schedule.rates)
    return f"{rates}: {figure(record.settled)}, {figure(record.mean_welfare)} ({record.years})"


def platform_in_words(changes: Sequence[int] | None) -> str:
    """`+10/0/-20` points, lowest bracket first."""
    return "/".join(f"{change:+d}" if change else "0" for change in changes) if changes else "none"


def _short(occupation: str, most: int = 60) -> str:
    """An occupation as it fits on a ballot."""
    return occupation if len(occupation) <= most else f"{occupation[: most - 3]}..."


def candidate_name(agent: int) -> str:
    return f"worker {agent}"


BALLOT_WORDS: Mapping[str, str] = {
    "name": "The one name you vote for, or abstain.",
    "set": "All names you approve of, as a list; an empty list abstains.",
    "ranking": "Names from best to worst, as a list; whom you leave out is below all others; an empty list abstains.",
}


def ballot_in_words(form: str, counted: str) -> str:
    """What the ballot asks for, and how it is counted."""
    return f"{BALLOT_WORDS[form]} {counted}"


def candidates_in_words(
    platforms: Mapping[int, Sequence[int] | None], population: Population, *, voter: int, with_platforms: bool
) -> str:
    """One line per candidate: who it is and, where candidates have platforms, what it would change."""
    lines = []
    for agent, changes in platforms.items():
        who = [candidate_name(agent) + (" (you)" if agent == voter else "")]
        person = population.demographics(agent)
        if person is not None:
            who.append(f"{_short(untrusted_text.part(person.occupation, 200))}, {person.sex.lower()}, {person.age}")
        who.append(f"{money(population.wage[agent] * 40 * 52)} at 40 hours")
        if with_platforms:
            who.append(f"platform {platform_in_words(changes)}")
        lines.append("; ".join(who))
    return "\n".join(lines)
