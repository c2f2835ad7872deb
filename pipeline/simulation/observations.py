"""Turn the state of the simulation into the input fields of prompts, with rounded numbers.

Models read the text that these functions return, and the `rules` engine parses it. A change of wording changes prompts,
and tests/golden shows it in the diff.
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
    """Format dollars as `$12,345`, with the sign first."""
    dollars = round(value)
    return f"-${-dollars:,}" if dollars < 0 else f"${dollars:,}"


def figure(value: float) -> str:
    """Format about five digits, never with an exponent: models misread those, and `rules` cannot parse them."""
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
    """A worker's objective: own utility, social welfare, or its negative."""
    utility = utility_in_words(setting.economy, num_agents)
    if utility_type == "egotistical":
        return f"Maximize your utility = {utility}"
    verb = {"altruistic": "Maximize", "adversarial": "Minimize"}[utility_type]
    return (
        f"{verb} social welfare = {welfare_in_words(setting.welfare, setting.inequality_aversion)}; utility = {utility}"
    )


def planner_objective(setting: Setting, num_agents: int, *, halved: bool) -> str:
    """The planner's objective. `halved`: the utility of dissatisfied workers counts half."""
    words = objective("altruistic", setting, num_agents)
    return f"{words}; the utility of a worker who is not satisfied with the tax policy counts half" if halved else words


def identity(persona: str | None, wage: float) -> str:
    """The worker's persona, if it has one, and its hourly wage and yearly income."""
    pay = f"You earn ${wage:.2f} an hour, {money(wage * 40 * 52)} a year at 40 hours a week."
    return f"{persona or 'You are a worker.'} {pay}"


def last_rebate(rebate: float | None) -> str:
    return "none yet" if rebate is None else money(rebate)


def worker_record(memory: WorkerMemory, agent: int, schedule: TaxSchedule) -> str:
    """The worker's record: statistics by hours tried, the most recent years, and the best year."""
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
    """The number of decimals to show: none for large values, three for values near one."""
    return 0 if abs(value) >= 1000 else 3


def _by_hours(hours: Sequence[float], value: Sequence[float], now: Sequence[bool]) -> list[str]:
    """One line per number of hours tried; if there are too many, those tried under this schedule have priority."""
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
    """`40: 31000 (5); 30500 (2)`: the mean value of these hours in all years, and under this schedule."""
    mean = fmean(mine)
    places = _places(mean)
    current = f"{fmean(here):.{places}f} ({len(here)})" if here else "-"
    return f"{hours:g}: {mean:.{places}f} ({len(mine)}); {current}"


def year_summary(*, hours: float, income: float, tax: float, rebate: float, utility: float) -> str:
    """One worker's year, as shown for its verdict on the tax policy."""
    return (
        f"You worked {hours:g} hours a week, earned {money(income)}, paid {money(tax)} in tax and received a "
        f"rebate of {money(rebate)}. Your utility was {money(utility)}."
    )


def satisfaction_in_words(satisfied: tuple[int, int]) -> str:
    """The number of satisfied workers, and of all who gave a verdict."""
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
    """Last year's economy: workers and mean income by bracket, distribution of utility, hours, rebate, welfare.

    `satisfied`: the number of satisfied workers, and of all who gave a verdict.
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
    """An occupation, shortened to fit on a ballot."""
    return occupation if len(occupation) <= most else f"{occupation[: most - 3]}..."


def candidate_name(agent: int) -> str:
    return f"worker {agent}"


BALLOT_WORDS: Mapping[str, str] = {
    "name": "The one name you vote for, or abstain.",
    "set": "All names you approve of, as a list; an empty list abstains.",
    "ranking": "Names from best to worst, as a list; whom you leave out is below all others; an empty list abstains.",
}


def ballot_in_words(form: str, counted: str) -> str:
    """The form of the ballot, and how ballots are counted."""
    return f"{BALLOT_WORDS[form]} {counted}"


def candidates_in_words(
    platforms: Mapping[int, Sequence[int] | None], population: Population, *, voter: int, with_platforms: bool
) -> str:
    """One line per candidate: name, occupation, income and, with platforms, the proposed rate changes."""
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
