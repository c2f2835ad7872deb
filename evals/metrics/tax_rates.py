"""Score a planner's change of rates against all reachable changes and against ORACLE, with the reason in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from pipeline.economy.baselines import START_RATE
from pipeline.economy.one_step_reforms import MOVES, ROUNDING, ExtremeSteps, extreme_steps, welfare_after
from pipeline.economy.planner_share import LEAST_GAIN, planner_share
from pipeline.economy.tax import rates_in_words
from pipeline.economy.yardsticks import People, Yardsticks, yardsticks
from signatures.texts.numbers import figure, money
from signatures.texts.planner import RateChanges
from signatures.types import TaxSchedule

KEPT = 4096
"""Cached answers of the exact search: a metric judges the same state many times."""


@lru_cache(KEPT)
def reachable(people: People, rates: tuple[float, ...]) -> ExtremeSteps:
    """The best and the worst change from the schedule with these `rates`, in percent."""
    schedule = TaxSchedule(thresholds=people.thresholds, rates=rates)
    wages, objective = np.array(people.wages), people.setting.objective
    return extreme_steps(people.effort, schedule, wages, objective, people.lowest_rate, people.windfall)


@dataclass(frozen=True)
class RateChangeScore:
    """A change of rates, in percentage points by bracket, by the planner of `people` at the schedule `before`."""

    people: People
    before: TaxSchedule
    change: tuple[int, ...]

    @property
    def after(self) -> TaxSchedule:
        """The resulting schedule."""
        return self._law(self.change)

    def _law(self, change: tuple[int, ...]) -> TaxSchedule:
        return self.before.changed(change, self.people.lowest_rate)

    @cached_property
    def welfare(self) -> float:
        """Its welfare if every worker best-responds."""
        return self.people.welfare_under(self.after)

    @property
    def reach(self) -> ExtremeSteps:
        """The range of welfare that changes could have reached."""
        return reachable(self.people, self.before.rates)

    @property
    def score(self) -> float:
        """(welfare - worst) / (best - worst) over the reachable changes, clipped to [0, 1]; 1 if best and worst are
        equal."""
        highest, lowest = self.reach.highest, self.reach.lowest
        if highest - self.welfare <= ROUNDING * abs(highest):
            return 1.0
        return float(np.clip((self.welfare - lowest) / (highest - lowest), 0, 1))

    @property
    def share(self) -> float | None:
        """Share of ORACLE's gain over the first schedule that the result reaches; negative if the result is worse than
        the first schedule, None if there is too little to gain."""
        measure = yardsticks(self.people)
        return planner_share(measure.start, self.welfare, measure.oracle)

    @property
    def share_score(self) -> float:
        """`share`, clipped to [0, 1]. A gain below `LEAST_GAIN` counts as `LEAST_GAIN`, so that tiny losses do not
        score 0."""
        measure = yardsticks(self.people)
        gain = max(measure.oracle - measure.start, LEAST_GAIN * abs(measure.start))
        return float(np.clip(1 - (measure.oracle - self.welfare) / gain, 0, 1))

    def __str__(self) -> str:
        best, welfare = self.reach, self.welfare
        did = f"{RateChanges.of(self.change)} leads to {rates_in_words(self.after.rates)}, welfare {figure(welfare)}"
        if self.score == 1.0:
            return f"{did} once workers respond: no change reaches more."
        better = f"{RateChanges.of(best.best)} ({rates_in_words(self._law(best.best).rates)})"
        return (
            f"{did} once workers respond. {better} would have reached {figure(best.highest)}, "
            f"the worst change {figure(best.lowest)}. {self._advice()}"
        )

    def share_in_words(self) -> str:
        """The exact share of the way from the first schedule to ORACLE's."""
        measure = yardsticks(self.people)
        oracle = f"ORACLE ({rates_in_words(measure.oracle_rates)}: {figure(measure.oracle)})"
        start = f"the start ({START_RATE:g}% everywhere: {figure(measure.start)})"
        if self.share is None:
            return f"{oracle} gains too little over {start} for a share of it. {self}"
        return f"The result reaches {self.share:.1%} of the gain of {oracle} over {start}. {self}"

    def _advice(self) -> str:
        """The one or two brackets in which changing only that rate would have helped most."""
        faults = sorted(self._faults(), reverse=True)[:2]
        if not faults:
            return "No single rate is wrong: several must change together."
        return " ".join(sentence for _, sentence in faults)

    def _faults(self) -> Iterator[tuple[float, str]]:
        """The cost of each bracket's rate with the others fixed, if positive: cost and sentence."""
        economy, wages, welfare = self.people.effort, np.array(self.people.wages), self.welfare
        limits = self.people.lowest_rate, self.people.windfall
        for bracket, chosen in enumerate(self.change):
            others = np.array([[*self.change[:bracket], move, *self.change[bracket + 1 :]] for move in MOVES])
            worth = welfare_after(economy, self.before, wages, self.people.setting.objective, others, *limits)
            best = int(np.argmax(worth))
            cost = float(worth[best]) - welfare
            if MOVES[best] == chosen or cost <= ROUNDING * abs(welfare):
                continue
            wrong = self.after.rates[bracket] - self._law(tuple(others[best].tolist())).rates[bracket]
            side = "high" if wrong > 0 else "low"
            where = bracket_in_words(self.before.thresholds, bracket)
            yield cost, f"The rate {where} is {abs(wrong):g} points too {side}: that alone costs {figure(cost)}."


def bracket_in_words(thresholds: Sequence[float], bracket: int) -> str:
    """The incomes of a bracket in words.

    >>> [bracket_in_words((0, 90_000, 159_100), bracket) for bracket in range(3)]
    ['up to $90,000', 'from $90,000 to $159,100', 'above $159,100']
    """
    if len(thresholds) == 1:
        return "on every dollar"
    if bracket == 0:
        return f"up to {money(thresholds[1])}"
    if bracket == len(thresholds) - 1:
        return f"above {money(thresholds[-1])}"
    return f"from {money(thresholds[bracket])} to {money(thresholds[bracket + 1])}"


def welfare_score(welfare: float, measure: Yardsticks) -> float:
    """Welfare on a scale: 0 if no one works, 1/2 for the lower of FREE_MARKET and the start, and 1 for ORACLE.

    Linear in between and clipped at both ends. ORACLE's gain over the start alone would be too narrow a scale: workers
    who choose badly fall below the start, and all of them would score zero.
    """
    if welfare >= measure.oracle:
        return 1.0
    low = min(measure.free_market, measure.start)
    marks = sorted({measure.idle: 0.0, low: 0.5, measure.oracle: 1.0}.items())
    return float(np.interp(welfare, [place for place, _ in marks], [height for _, height in marks]))
