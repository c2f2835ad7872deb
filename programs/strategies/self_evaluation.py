"""Score an answer by the information in its prompt alone, for strategies that keep the best of several.

Strategies that draw several answers keep the best by these scores. They use no oracle, so agents in a run with
`best_of_n` know no more than any other agent. A new question is one function and one entry in `REWARDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from programs import persona_checks
from programs.engines.rules.policies import (
    Floats,
    UnreadablePrompt,
    finances,
    promise,
    read,
    static_gains,
)
from signatures.texts.ballot import Candidates
from signatures.texts.objective import Objective
from signatures.texts.planner import PlannerRecord
from signatures.texts.worker import Identity, LastRebate, WorkerRecord
from signatures.types import TaxSchedule

GOOD_ENOUGH = 0.995
"""The reward from which no further answer is requested: within half a percent of the best."""

UNKNOWN = 0.5
"""The reward if the prompt does not show which answer is better."""

Inputs = Mapping[str, Any]

WEEKS = 52


def reward(inputs: Inputs, answer: Any) -> float:
    """The reward of `answer`, from 0 to 1, by its first output in `REWARDS`; `UNKNOWN` if there is none.

    `answer` is a prediction or a mapping with the question's outputs; `inputs` are the question's inputs.
    """
    judge = next((REWARDS[name] for name in REWARDS if name in answer), None)
    try:
        return UNKNOWN if judge is None else float(judge(inputs, answer))
    except UnreadablePrompt:
        return UNKNOWN


def hours_worth(inputs: Inputs, answer: Any) -> float:
    """Own utility of the hours as a share of the best, by the formula, the wage and the schedule in the prompt.

    A worker without the formula, or who wants social welfare or its opposite, cannot compute it, and uses the record.
    """
    wanted, who = Objective.parse(inputs["objective"]), Identity.parse(inputs["identity"])
    if wanted is None or wanted.welfare is not None or wanted.utility.cost is None or who is None:
        return _by_record(read(WorkerRecord.parse, inputs, "record"), float(answer["labor"]))
    hours = np.arange(101.0)
    income = WEEKS * who.pay.hourly * hours
    cost = wanted.utility.cost * hours**wanted.utility.power + np.where(hours > 0, who.fixed_cost, 0)
    back = 1 / wanted.utility.taxpayers  # the part of own tax that comes back
    kept = income - (1 - back) * _tax(read(TaxSchedule.parse, inputs, "tax_schedule"), income)
    if wanted.utility.worth is not None:
        worth = wanted.utility.worth.of(kept + _from_others(inputs, back))
        kept = worth - worth[0]  # what idling is worth would hide the differences
    value = kept - cost
    return _share(float(value[int(answer["labor"])]), value)


def _from_others(inputs: Inputs, back: float) -> float:
    """Last year's rebate without the own tax in it, in dollars; 0 before the first year."""
    last = read(WorkerRecord.parse, inputs, "record").last_years
    own = back * last[-1].tax if last else 0.0
    return (read(LastRebate.parse, inputs, "last_rebate").amount or 0.0) - own


def _tax(schedule: TaxSchedule, income: Floats) -> Floats:
    """Tax in dollars on yearly `income`."""
    steps = np.diff(schedule.rates, prepend=0.0) / 100
    taken: Floats = (np.maximum(income[:, None] - np.array(schedule.thresholds), 0) * steps).sum(axis=1)
    return taken


def _by_record(record: WorkerRecord, hours: float) -> float:
    tried = {row.hours: row.mean for row in record.by_hours}
    return _share(tried[hours], np.array(list(tried.values()))) if hours in tried else UNKNOWN


def _share(value: float, among: Floats) -> float:
    """The position of `value` between 0 and the best of `among`, or between the worst and the best if the best is not
    positive."""
    low, high = min(0.0, float(among.min())) if among.max() <= 0 else 0.0, float(among.max())
    return float(np.clip((value - low) / (high - low), 0, 1)) if high > low else 1.0


def rates_worth(inputs: Inputs, answer: Any) -> float:
    """The welfare of the resulting schedule on the record; a schedule that the record lacks counts as the nearest one.

    When exploring, a schedule that was tried before counts half. A candidate is judged by its own income, and a broken
    promise halves the score.
    """
    if "economy" not in inputs:
        return _own_platform(inputs, answer)
    changes = [int(change) for change in answer["rate_changes"]]
    promised = promise(inputs)
    kept = 0.5 if promised and list(promised) != changes else 1.0
    tried = read(PlannerRecord.parse, inputs, "record").tried
    if not tried:
        return UNKNOWN * kept
    there = np.array([row.rates for row in tried])
    rates = np.array(read(TaxSchedule.parse, inputs, "tax_schedule").rates)
    after = np.clip(rates + changes, np.minimum(rates, 0), 100)
    if there.shape[1] != len(after):
        return UNKNOWN * kept
    settled = np.array([row.settled for row in tried])
    distance = np.abs(there - after).sum(axis=1)
    spread = float(settled.max() - settled.min())
    height = float(settled[int(distance.argmin())] - settled.min()) / spread if spread else UNKNOWN
    known = inputs["phase"] == "explore" and not distance.min()
    return height * kept * (0.5 if known else 1.0)


def _own_platform(inputs: Inputs, answer: Any) -> float:
    """Not standing costs nothing; a candidate should gain from its platform at unchanged hours."""
    if not answer["stand"]:
        return UNKNOWN
    gain = static_gains(inputs, [list(answer["rate_changes"] or ())])[0]
    return 1.0 if gain > 0 else 0.0


def vote_worth(inputs: Inputs, answer: Any) -> float:
    """The gain in own income from the chosen platform, from the worst (0) to the best (1) on the ballot, at unchanged
    hours.

    Of several names, the first counts. Without platforms, candidates with more similar pay score higher. An abstention
    counts as no change.
    """
    standing = read(Candidates.parse, inputs, "candidates")
    if standing.platforms is not None:
        gains = static_gains(inputs, standing.platforms)
    else:
        gains = -np.abs(np.array([candidate.income for candidate in standing.lines]) - finances(inputs)[0])
    said = answer["vote"]
    first = next(iter(said), None) if isinstance(said, list | tuple) else said
    chosen = dict(zip(standing.names, gains, strict=True)).get(str(first))
    low, high = float(min(gains)), float(max(gains))
    if chosen is None:
        return float(np.clip((0 - low) / (high - low), 0, 1)) if low < 0 < high else UNKNOWN
    return (float(chosen) - low) / (high - low) if high > low else 1.0


def persona_worth(inputs: Inputs, answer: Any) -> float:
    """The share of checks that a persona passes against its census record (programs/persona_checks.py)."""
    found = persona_checks.checks(
        str(answer["persona"]), occupation=inputs["occupation"], sex=inputs["sex"], age=int(inputs["age"])
    )
    return sum(check.passed for check in found) / len(found)


REWARDS: Mapping[str, Callable[[Inputs, Any], float]] = {
    "labor": hours_worth,
    "vote": vote_worth,
    "rate_changes": rates_worth,
    "persona": persona_worth,
}
"""Rewards by the output field that identifies the question."""
