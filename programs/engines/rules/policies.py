"""Decision rules of the `rules` engine: simple bandits that use only what the prompt shows.

Workers climb over hours, the planner climbs a response surface over schedules, and citizens follow their own income.
None of them knows the economy: each reads only the record in its prompt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from programs.engines.rules import response_surface
from signatures.texts.ballot import BallotRules, Candidates, Form
from signatures.texts.interview import parse_deed, parse_record
from signatures.texts.objective import Objective
from signatures.texts.planner import EconomySummary, PlannerRecord, RateChanges
from signatures.texts.survey import SurveyQuestion
from signatures.texts.worker import Identity, LastRebate, WorkerRecord, YearSummary
from signatures.types import TaxSchedule

Floats = NDArray[np.float64]
Inputs = Mapping[str, str]
Rng = np.random.Generator

FEW_TRIED = 3
CHANGES = (0, -10, 10, -20, 20)


class UnreadablePrompt(ValueError):
    """An input of a prompt is not a valid text of its field."""


T = TypeVar("T")


def read(parse: Callable[[str], T | None], inputs: Inputs, field: str) -> T:
    """The text in `field`, parsed by `parse`. UnreadablePrompt if that fails."""
    found = parse(inputs[field])
    if found is None:
        raise UnreadablePrompt(f"the input {field} is not in the words of signatures/texts: {inputs[field][:80]!r}")
    return found


# -- the worker -------------------------------------------------------------------------------------------------


def choose_labor(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """Climb over hours in steps of ten, then five, by their mean value under this schedule.

    Without a record, begin with the hours that the taste for leisure in the identity suggests. A worker with a fixed
    cost of work climbs over positive hours only, because from 0 hours every small step looks bad, and stays at home
    when these are tried and worth less than nothing.
    """
    record, fixed = read(WorkerRecord.parse, inputs, "record"), fixed_cost(inputs)
    least = 1 if fixed else 0
    here = {row.hours: row.here for row in record.by_hours if row.here is not None and row.hours >= least}
    if not here:
        return {"labor": first_hours(record, inputs, least)}
    best = max(here, key=lambda h: (here[h], -h))
    exploring = inputs["phase"] == "explore"
    # After few years under a schedule there is nothing to exploit yet.
    for step in (10, 5) if exploring else (10,) if len(here) < FEW_TRIED else ():
        untried = [h for h in (best - step, best + step) if least <= h <= 100 and h not in here]
        if untried:
            return {"labor": int(rng.choice(untried))}
    return {"labor": 0 if fixed and here[best] <= 0 else int(best)}


def fixed_cost(inputs: Inputs) -> float:
    """What it costs the worker to work at all, in dollars a year; 0 for one whose objective is not its own utility."""
    identity, objective = Identity.parse(inputs.get("identity", "")), Objective.parse(inputs.get("objective", ""))
    return 0.0 if identity is None or objective is None or objective.welfare is not None else identity.fixed_cost


def first_hours(record: WorkerRecord, inputs: Inputs, least: int) -> int:
    """The hours under a new schedule: those of the last year or, if they are below `least`, the best ones tried."""
    if not record.last_years:
        return usual_hours(inputs)
    last = record.last_years[-1].hours
    if last >= least:
        return int(last)
    tried = {row.hours: row.mean for row in record.by_hours if row.hours >= least}
    return int(max(tried, key=lambda h: (tried[h], -h))) if tried else usual_hours(inputs)


def usual_hours(inputs: Inputs) -> int:
    """40 hours, or what a worker of the same pay who differs in its taste for leisure would work, in steps of five.

    Best hours are proportional to taste^(-1 / (power - 1)), with the power of hours in the utility.
    """
    identity, objective = Identity.parse(inputs.get("identity", "")), Objective.parse(inputs.get("objective", ""))
    if identity is None or identity.taste is None or objective is None or objective.utility.cost is None:
        return 40
    hours = 40 * identity.taste ** (-1 / (objective.utility.power - 1))
    return int(min(100, 5 * round(hours / 5)))


def judge_tax_policy(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """Satisfied if taxes minus the rebate are at most a quarter of income."""
    year = read(YearSummary.parse, inputs, "this_year")
    return {"satisfied": year.tax - year.rebate <= 0.25 * year.income}


# -- the planner ------------------------------------------------------------------------------------------------


def set_tax_rates(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """Keep a promise; without one, move to the reachable schedule that the record makes most promising."""
    if promised := promise(inputs):
        return {"rate_changes": list(promised)}
    rates = np.array(read(TaxSchedule.parse, inputs, "tax_schedule").rates)
    tried = read(PlannerRecord.parse, inputs, "record").tried
    if not tried:
        return {"rate_changes": [0] * len(rates)}
    x = np.array([row.rates for row in tried])
    welfare, years = np.array([row.settled for row in tried]), np.array([float(row.years) for row in tried])
    beliefs = response_surface.fit(
        x, welfare, years / years.min(), weight_of_rates(inputs.get("economy", ""), len(rates))
    )
    lowest = -100 if min(rates.min(), x.min()) < 0 else 0
    expected, doubt = beliefs.at(x)
    surest = x[int(np.argmax(expected - CAUTION * doubt))]

    def appeal(changes: Floats) -> Floats:
        at = np.clip(rates + changes, lowest, 100)
        expected, doubt = beliefs.at(at)
        if inputs["phase"] != "explore":
            return expected - CAUTION * doubt
        known = (at[:, None] == x).all(axis=2).any(axis=1)
        return np.asarray(expected + CURIOSITY * doubt - OLD_NEWS * known)

    towards = np.clip(np.rint((surest - rates) / 10) * 10, -20, 20)
    starts = [np.zeros(len(rates)), towards, *rng.choice(CHANGES, (STARTS - 2, len(rates)))]
    return {"rate_changes": [int(change) for change in _climb(appeal, np.array(starts))]}


CURIOSITY, CAUTION = 0.6, 0.5
"""Standard deviations that an exploring planner adds to expected welfare, and an exploiting one subtracts."""

OLD_NEWS = 1e9
"""The penalty of an exploring planner for a schedule that is on its record."""

STARTS = 6
"""The number of climbs over the reachable schedules; with seven brackets there are 78,125 of those."""


def weight_of_rates(economy: str, brackets: int) -> Floats:
    """The weight of each rate (B,), with sum 1: proportional to last year's income in its bracket.

    Read from the summary of the economy; equal without one. Every weight is positive, because incomes may move there.
    """
    summary = EconomySummary.parse(economy)
    if summary is None or len(summary.brackets) != brackets:
        return np.full(brackets, 1 / brackets)
    edge, workers, mean = np.array([(row.edge, row.workers, row.mean_income or 0.0) for row in summary.brackets]).T
    inside = workers * np.maximum(mean - edge, 0)
    inside[:-1] += (workers.sum() - workers.cumsum())[:-1] * np.diff(edge)
    share = inside / (inside.sum() or 1.0) + 0.01
    return np.asarray(share / share.sum())


def _climb(appeal: Callable[[Floats], Floats], starts: Floats) -> Floats:
    """The best changes (B,) found from `starts` (K, B), one rate after another, until no single change improves."""
    here, height = starts, appeal(starts)
    before = np.full_like(height, -np.inf)
    while (height > before).any():
        before = height
        for bracket in range(here.shape[1]):
            around = np.repeat(here[:, None], len(CHANGES), axis=1)
            around[:, :, bracket] = CHANGES
            heights = appeal(around.reshape(-1, here.shape[1])).reshape(len(here), -1)
            best = heights.argmax(axis=1)
            better = np.take_along_axis(heights, best[:, None], 1)[:, 0] > height + 1e-9
            here = np.where(better[:, None], around[np.arange(len(here)), best], here)
            height = np.where(better, heights.max(axis=1), height)
    return np.asarray(here[int(np.argmax(height))])


# -- the citizen ------------------------------------------------------------------------------------------------


def promise(inputs: Inputs) -> tuple[int, ...]:
    """The rate changes that a leader promised; empty without a promise or a platform."""
    return read(RateChanges.parse, inputs, "platform").changes if "platform" in inputs else ()


def finances(inputs: Inputs) -> tuple[float, float, float]:
    """Own income, own tax and the rebate: of the last year or, before the first one, derived from the pay."""
    last = read(WorkerRecord.parse, inputs, "record").last_years
    income, tax = (last[-1].income, last[-1].tax) if last else (full_time_income(inputs), 0.0)
    return income, tax, read(LastRebate.parse, inputs, "last_rebate").amount or 0.0


def full_time_income(inputs: Inputs) -> float:
    """Own income in dollars a year at 40 hours a week."""
    return read(Identity.parse, inputs, "identity").pay.yearly


def _above(inputs: Inputs, income: float) -> Floats:
    """Dollars of `income` in each bracket of the schedule."""
    edges = np.array(read(TaxSchedule.parse, inputs, "tax_schedule").thresholds)
    return np.clip(income - edges, 0, np.diff(np.append(edges, np.inf)))


def stand_for_office(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """Stand if taxes or the rebate matter much: net payers propose to cut the rates that they pay, net receivers to
    raise the others."""
    income, tax, rebate = finances(inputs)
    own = _above(inputs, income) > 0
    if abs(tax - rebate) <= 0.15 * income and rng.random() > 0.15:
        return {"stand": False, "rate_changes": None}
    changes = np.where(own, -10, 0) if tax > rebate else np.where(own, 0, 10)
    return {"stand": True, "rate_changes": [int(change) for change in changes]}


def cast_vote(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """Vote for the platform that raises own income most or, without platforms, for the candidates with the nearest
    income."""
    standing = read(Candidates.parse, inputs, "candidates")
    if standing.prospects is not None:
        gain = np.array(standing.prospects)
    elif standing.platforms is not None:
        gain = static_gains(inputs, standing.platforms)
    else:
        standing = standing.without_voter()
        own = full_time_income(inputs)
        gain = np.array([1 / (1 + abs(candidate.income - own)) for candidate in standing.lines])
    return {"vote": _on_ballot(read(BallotRules.parse, inputs, "ballot").form, standing.names, gain, rng)}


def _on_ballot(form: Form, names: Sequence[str], gain: Floats, rng: Rng) -> str | list[str]:
    """The best candidate, all above the mean, or all from best to worst, as the ballot asks; ties at random. No vote if
    no candidate brings a gain."""
    order = sorted(rng.permutation(len(names)), key=lambda i: -gain[i]) if gain.any() else []
    if form == "ranking":
        return [names[i] for i in order]
    if form == "set":
        return [names[i] for i in order if gain[i] > gain.mean()] or [names[i] for i in order]
    return names[order[0]] if order else "abstain"


def static_gains(inputs: Inputs, platforms: Sequence[Sequence[int]]) -> Floats:
    """The change of own income under each platform if all hours stay the same, in cents; 0 without changes.

    The rebate changes by the mean additional tax of the people on the ballot at 40 hours, and own tax by own additional
    tax. If no one else is on the ballot, a net payer counts only own tax, and a net receiver expects a rebate from the
    brackets above.
    """
    rates = np.array(read(TaxSchedule.parse, inputs, "tax_schedule").rates)
    lowest = -100 if rates.min() < 0 else 0
    moved = [np.clip(rates + platform, lowest, 100) - rates if len(platform) else 0 * rates for platform in platforms]
    if "candidates" in inputs:
        others = [candidate.income for candidate in read(Candidates.parse, inputs, "candidates").lines]
        own = _above(inputs, full_time_income(inputs))
        gains: Floats = np.array(moved) @ (np.mean([_above(inputs, other) for other in others], axis=0) - own)
        return gains
    income, tax, rebate = finances(inputs)
    mine = _above(inputs, income)
    paid: Floats = np.array(moved) @ mine
    return -paid if tax > rebate else np.array(moved)[:, mine == 0].sum(axis=1) * 1000 - paid


# -- the persona ------------------------------------------------------------------------------------------------

STAGES = ((30, "early in your career"), (50, "in the middle of your career"), (91, "late in your career"))
TEMPERS = (
    "You save what you can and avoid debt.",
    "You take risks when the pay is right.",
    "You worry about bills and plan every month ahead.",
    "You are content with what you have and value your free time.",
    "You want to get ahead and do not mind long weeks.",
    "You support relatives and keep little for yourself.",
)


def article(age: int) -> str:
    """`a` or `an` before a spoken number.

    >>> article(18), article(21)
    ('an', 'a')
    """
    return "an" if age in (8, 11, 18) or 80 <= age < 90 else "a"


def write_persona(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """A plain persona from the census record, with a random temperament."""
    age = int(inputs["age"])
    stage = next(words for limit, words in STAGES if age < limit)
    person = {"Male": "man", "Female": "woman"}[inputs["sex"]]
    job = inputs["occupation"][:1].lower() + inputs["occupation"][1:]
    text = f"You are {article(age)} {age}-year-old {person} working as one of the {job}, {stage}."
    return {"persona": f"{text} {TEMPERS[int(rng.integers(len(TEMPERS)))]}"}


# -- the interview ----------------------------------------------------------------------------------------------


def answer_interview(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """The decision and the bandit's reason for it, whatever the question was; to a survey, an answer of its kind."""
    question = SurveyQuestion.parse(inputs.get("question", ""))
    if question.kind != "text":
        return {"answer": _survey_answer(question, inputs, rng)}
    did = read(parse_deed, inputs, "this_year").replace("Your answer", "My answer").replace("You ", "I ")
    record = read(parse_record, inputs, "record")
    if record.planner.tried:
        most = max(record.planner.tried, key=lambda row: row.settled)
        rates, welfare = str(most).partition(",")[0].split(": ")
        knew = f"Of the schedules that I had tried, {rates} had settled at the highest welfare, {welfare}."
    else:
        best = record.worker.best
        knew = f"The best year that I remembered: {best}." if best else "I remembered nothing to go by."
    why = {"explore": "I was to try what I did not know yet.", "exploit": "I was to do what had served best."}
    return {"answer": f"{did}. {knew} {why[inputs['phase']]}"}


def _survey_answer(question: SurveyQuestion, inputs: Inputs, rng: Rng) -> Any:
    """Yes while content with the taxes, hours where they are within the bounds, and one of the choices at random."""
    year = YearSummary.parse(inputs["this_year"])
    if question.kind == "yes/no":
        return bool(year is None or year.tax - year.rebate <= 0.25 * year.income)
    if question.kind == "choice":
        return str(rng.choice(question.choices))
    return min(question.high, max(question.low, 40.0 if year is None else year.hours))


# -- questions of strategies ------------------------------------------------------------------------------------


def criticise(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """No objection to a draft: the final answer follows the record, as the draft did."""
    return {"critique": "The draft follows the record; it stands."}


def advise(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """The same advice to every module that DSPy's Refine asks about."""
    return {"advice": {name: "Follow the record." for name in json.loads(inputs["module_names"])}}
