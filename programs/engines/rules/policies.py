"""Decision rules of the `rules` engine: simple bandits that use only what the prompt shows.

Workers hill-climb over hours, the planner climbs a response surface over schedules, citizens follow their
own income. None of them knows the economy: each reads the record that its prompt carries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from programs.engines.rules import response_surface

Floats = NDArray[np.float64]
Inputs = Mapping[str, str]
Rng = np.random.Generator

NUMBER = r"(-?\d+(?:\.\d+)?)"
BY_HOURS = re.compile(rf"^{NUMBER}: {NUMBER} \((\d+)\); (?:{NUMBER} \((\d+)\)|-)$", re.MULTILINE)
LAST_YEAR = re.compile(rf"^\d+: {NUMBER}, {NUMBER}, {NUMBER}, {NUMBER}$", re.MULTILINE)
SCHEDULE_TRIED = re.compile(rf"^([\d./]+): {NUMBER}, {NUMBER} \((\d+)\)$", re.MULTILINE)
INCOME_ON_BALLOT = re.compile(r"; \$([\d,]+) at 40 hours")
BEST_YEAR = re.compile(r"^best: (.+)$", re.MULTILINE)
FEW_TRIED = 3
BY_BRACKET = re.compile(r"^from \$([\d,]+): (\d+) workers(?:, mean income \$([\d,]+))?$", re.MULTILINE)
CHANGES = (0, -10, 10, -20, 20)


def dollars(text: str) -> list[float]:
    """All amounts of money in `text`: `$1,234` and `-$1,234`."""
    return [float(f"{sign}{amount.replace(',', '')}") for sign, amount in re.findall(r"(-?)\$([\d,]+(?:\.\d+)?)", text)]


# -- the worker -------------------------------------------------------------------------------------------------


def choose_labor(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """Climb over hours in steps of ten, then five, by what each was worth under this schedule."""
    here = {float(h): float(value) for h, _, _, value, years in BY_HOURS.findall(inputs["record"]) if years}
    last = LAST_YEAR.findall(inputs["record"])
    if not here:
        return {"labor": int(float(last[-1][0])) if last else 40}
    best = max(here, key=lambda h: (here[h], -h))
    exploring = inputs["phase"] == "explore"
    # A schedule under which one has hardly worked leaves nothing to exploit yet.
    for step in (10, 5) if exploring else (10,) if len(here) < FEW_TRIED else ():
        untried = [h for h in (best - step, best + step) if 0 <= h <= 100 and h not in here]
        if untried:
            return {"labor": int(rng.choice(untried))}
    return {"labor": int(best)}


def judge_tax_policy(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """Content while taxes less the rebate take at most a quarter of income."""
    income, tax, rebate, *_ = dollars(inputs["this_year"])
    return {"satisfied": tax - rebate <= 0.25 * income}


# -- the planner ------------------------------------------------------------------------------------------------


def rates_in(schedule: str) -> Floats:
    """The marginal rates of a schedule in words, in percent."""
    return np.array([float(rate) for rate in re.findall(rf"{NUMBER}%", schedule)])


def set_tax_rates(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """Keep a promise; else move to the reachable schedule that the record makes most promising."""
    if promised := changes_in(inputs.get("platform", "none")):
        return {"rate_changes": promised}
    rates = rates_in(inputs["tax_schedule"])
    tried = SCHEDULE_TRIED.findall(inputs["record"])
    if not tried:
        return {"rate_changes": [0] * len(rates)}
    x = np.array([[float(rate) for rate in row[0].split("/")] for row in tried])
    welfare, years = (np.array([float(row[column]) for row in tried]) for column in (1, 3))
    beliefs = response_surface.fit(
        x, welfare, years / years.min(), weight_of_rates(inputs.get("economy", ""), len(rates))
    )
    expected, doubt = beliefs.at(x)
    surest = x[int(np.argmax(expected - CAUTION * doubt))]

    def appeal(changes: Floats) -> Floats:
        at = np.clip(rates + changes, 0, 100)
        expected, doubt = beliefs.at(at)
        if inputs["phase"] != "explore":
            return expected - CAUTION * doubt
        known = (at[:, None] == x).all(axis=2).any(axis=1)
        return np.asarray(expected + CURIOSITY * doubt - OLD_NEWS * known)

    towards = np.clip(np.rint((surest - rates) / 10) * 10, -20, 20)
    starts = [np.zeros(len(rates)), towards, *rng.choice(CHANGES, (STARTS - 2, len(rates)))]
    return {"rate_changes": [int(change) for change in _climb(appeal, np.array(starts))]}


CURIOSITY, CAUTION = 0.6, 0.5
"""Standard deviations by which an exploring planner hopes for the best, and an exploiting one fears the worst."""

OLD_NEWS = 1e9
"""What an exploring planner holds against a schedule that its record has."""

STARTS = 6
"""Climbs over the schedules within reach: with seven brackets there are 78,125 of them."""


def weight_of_rates(economy: str, brackets: int) -> Floats:
    """How much each rate matters (B,), adding up to 1: as the dollars of last year's income in its bracket.

    Read from the summary of the economy; without one all matter alike. No rate counts for nothing: people may come.
    """
    rows = BY_BRACKET.findall(economy)
    if len(rows) != brackets:
        return np.full(brackets, 1 / brackets)
    edge, workers, mean = np.array([[float(x.replace(",", "") or 0) for x in row] for row in rows]).T
    inside = workers * np.maximum(mean - edge, 0)
    inside[:-1] += (workers.sum() - workers.cumsum())[:-1] * np.diff(edge)
    share = inside / (inside.sum() or 1.0) + 0.01
    return np.asarray(share / share.sum())


def _climb(appeal: Callable[[Floats], Floats], starts: Floats) -> Floats:
    """The best changes (B,) found from `starts` (K, B), one rate after the other, until none can be improved alone."""
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


def changes_in(platform: str) -> list[int]:
    """The changes in `+10/0/-20`, or none."""
    return [int(change) for change in platform.split("/")] if re.match(r"[+-]?\d", platform) else []


def finances(inputs: Inputs) -> tuple[float, float, float]:
    """Own income, own tax and the rebate, as far as the prompt tells them."""
    last = LAST_YEAR.findall(inputs["record"])
    income, tax = (float(last[-1][1]), float(last[-1][2])) if last else (dollars(inputs["identity"])[-1], 0.0)
    return income, tax, next(iter(dollars(inputs["last_rebate"])), 0.0)


def _above(inputs: Inputs, income: float) -> Floats:
    """Dollars of `income` in each bracket of the schedule in words."""
    edges = np.array([0.0, *dollars(inputs["tax_schedule"])])
    return np.clip(income - edges, 0, np.diff(np.append(edges, np.inf)))


def stand_for_office(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """Stand if the budget matters much to you: payers would cut the rates that they pay, receivers raise the others."""
    income, tax, rebate = finances(inputs)
    own = _above(inputs, income) > 0
    if abs(tax - rebate) <= 0.15 * income and rng.random() > 0.15:
        return {"stand": False, "rate_changes": None}
    changes = np.where(own, -10, 0) if tax > rebate else np.where(own, 0, 10)
    return {"stand": True, "rate_changes": [int(change) for change in changes]}


def cast_vote(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """Vote for what raises your income, or, without platforms, for the others whose earnings are nearest to yours."""
    lines = [line.split("; ") for line in inputs["candidates"].splitlines()]
    if lines[0][-1].startswith("platform "):
        gain = static_gains(inputs, [changes_in(line[-1].removeprefix("platform ")) for line in lines])
    else:
        lines = [line for line in lines if not line[0].endswith("(you)")] or lines
        own = dollars(inputs["identity"])[-1]
        gain = np.array([1 / (1 + abs(dollars(line[-1])[0] - own)) for line in lines])
    names = [line[0].removesuffix(" (you)") for line in lines]
    return {"vote": _on_ballot(inputs["ballot"], names, gain, rng)}


def _on_ballot(ballot: str, names: list[str], gain: Floats, rng: Rng) -> str | list[str]:
    """The best, all above the mean, or all from best to worst, as the ballot asks; ties at random. Nothing to gain from
    anybody, no vote."""
    order = sorted(rng.permutation(len(names)), key=lambda i: -gain[i]) if gain.any() else []
    if "best to worst" in ballot:
        return [names[i] for i in order]
    if "approve" in ballot:
        return [names[i] for i in order if gain[i] > gain.mean()] or [names[i] for i in order]
    return names[order[0]] if order else "abstain"


def static_gains(inputs: Inputs, platforms: Sequence[Sequence[int]]) -> Floats:
    """What each platform adds to one's income with everybody's hours as they are, in cents; no changes bring nothing.

    The rebate moves by what those on the ballot would pay more at 40 hours, in the mean, and one's own tax by what one
    would pay oneself. Where nobody else is known, who pays more than he gets back looks at his own tax alone, and the
    others hope for a rebate from the brackets above.
    """
    rates = rates_in(inputs["tax_schedule"])
    moved = [np.clip(rates + platform, 0, 100) - rates if len(platform) else 0 * rates for platform in platforms]
    others = [float(told.replace(",", "")) for told in INCOME_ON_BALLOT.findall(inputs.get("candidates", ""))]
    if others:
        own = _above(inputs, dollars(inputs["identity"])[-1])
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
    """`a` or `an`, as one says the number.

    >>> article(18), article(21)
    ('an', 'a')
    """
    return "an" if age in (8, 11, 18) or 80 <= age < 90 else "a"


def write_persona(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """A plain person from the census record, with a temper drawn at random."""
    age = int(inputs["age"])
    stage = next(words for limit, words in STAGES if age < limit)
    person = {"Male": "man", "Female": "woman"}[inputs["sex"]]
    job = inputs["occupation"][:1].lower() + inputs["occupation"][1:]
    text = f"You are {article(age)} {age}-year-old {person} working as one of the {job}, {stage}."
    return {"persona": f"{text} {TEMPERS[int(rng.integers(len(TEMPERS)))]}"}


# -- the interview ----------------------------------------------------------------------------------------------


def answer_interview(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """What one did and why a bandit does it, whatever was asked."""
    did = inputs["this_year"].split(". ")[0].split(".\n")[0].replace("Your answer", "My answer").replace("You ", "I ")
    tried = SCHEDULE_TRIED.findall(inputs["record"])
    best = BEST_YEAR.search(inputs["record"])
    if tried:
        rates, settled, *_ = max(tried, key=lambda row: float(row[1]))
        knew = f"Of the schedules that I had tried, {rates} had settled at the highest welfare, {settled}."
    else:
        knew = f"The best year that I remembered: {best[1]}." if best else "I remembered nothing to go by."
    why = {"explore": "I was to try what I did not know yet.", "exploit": "I was to do what had served best."}
    return {"answer": f"{did}. {knew} {why[inputs['phase']]}"}


# -- questions of strategies ------------------------------------------------------------------------------------


def criticise(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """Nothing to object to a draft: the final answer follows the record as the draft did."""
    return {"critique": "The draft follows the record; it stands."}


def advise(inputs: Inputs, rng: Rng) -> dict[str, Any]:
    """The same advice to every module that DSPy's Refine asks about."""
    return {"advice": {name: "Follow the record." for name in json.loads(inputs["module_names"])}}
