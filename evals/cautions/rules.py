"""Cautions on results that can mislead: empty brackets, an objective that rests on one worker, taxes without effect.

Each rule looks at years of the same people, played or best-responding, and yields a `Caution`: one sentence with its
figure, and what to do about it. messages.py prints them; a new caution is one function in `CAUTION_RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.economy.baselines import Setting
from pipeline.economy.equilibrium import Outcome, equilibrium
from pipeline.economy.tax import FloatArray
from pipeline.economy.utility import ECONOMIES, MAX_HOURS, WEEKS
from pipeline.economy.welfare_terms import TERMS, terms_of, workers_by_bracket
from signatures.types import TaxSchedule

ONE_CARRIES = 0.2
"""Largest share of the objective that one worker may carry without a caution."""

TWO_CARRY = 0.25
"""Largest share of `inverse_income` that the two largest terms may carry without a caution."""

HARDLY_WORKS = 10
"""Hours a week, v1's step for hours: workers with fewer hours count as nearly idle."""

IDLE_CARRY = 0.5
"""Largest share of `paper` that nearly idle workers may carry without a caution."""

AT_THE_CAP = 0.2
"""Largest share of workers at the cap of hours without a caution, in economy v1."""

BLIND = 0.005
"""A welfare function that differs by less between schedules, relative to its largest value, cannot rank them."""

MINIMUM_WAGE = 7.25
"""The federal minimum wage in dollars an hour, suggested for `--min-wage`."""

ENOUGH_WORKERS, MANY_WORKERS = 100, 1000


@dataclass(frozen=True)
class Caution:
    """One sentence, without a full stop, and what to do. `kind`: the same for the same rule; `measure`: its
    severity."""

    kind: str
    text: str
    way: str
    measure: float

    @property
    def line(self) -> str:
        """The sentence with what to do."""
        return f"{self.text}; {self.way}."


@dataclass(frozen=True, eq=False)
class Situation:
    """Years of the same people, all (Y, N).

    `wage` in dollars an hour; `utility` as it counts in the objective and `income`, in dollars a year. `regret`: what
    each worker's own choice of hours costs it, dollars a year. `setting`: the economy and the objective. `thresholds`:
    of the current schedule. `spread`: how much the objective differs between schedules; None: unknown.
    """

    setting: Setting
    thresholds: tuple[float, ...]
    wage: FloatArray
    utility: FloatArray
    income: FloatArray
    regret: FloatArray | None = None
    spread: float | None = None

    @property
    def workers(self) -> int:
        return int(self.wage.shape[-1])

    def years(self, which: ArrayLike) -> str:
        """` in 3 of 10 years`; empty if there is only one year."""
        flags = np.asarray(which)
        return f" in {int(flags.sum())} of {len(flags)} years" if len(flags) > 1 else ""


def one_year(
    setting: Setting,
    thresholds: tuple[float, ...],
    outcome: Outcome,
    *,
    utility: FloatArray | None = None,
    regret: FloatArray | None = None,
    spread: float | None = None,
) -> Situation:
    """One year of the people of `setting`; `utility` as it counts in the objective, by default unadjusted."""
    counts = outcome.utility if utility is None else utility
    wage, judged, income = (np.atleast_2d(x) for x in (setting.wages, counts, outcome.income))
    own = None if regret is None else np.atleast_2d(regret)
    return Situation(setting, thresholds, wage, judged, income, own, spread)


def under_law(setting: Setting, law: TaxSchedule) -> Situation:
    """The year if every worker of `setting` best-responds to `law`."""
    return one_year(
        setting, law.thresholds, equilibrium(setting.economy, law, setting.wages, windfall=setting.windfall)
    )


def cautions(situation: Situation) -> Iterator[Caution]:
    """All cautions: on the people, and on the setting's objective."""
    yield from on_people(situation)
    yield from on_objective(situation)


def on_people(situation: Situation) -> Iterator[Caution]:
    """The cautions that do not depend on the objective."""
    yield from _brackets(situation)
    yield from _cap(situation)


def on_objective(situation: Situation) -> Iterator[Caution]:
    """The cautions on the objective of the setting."""
    for rule in CAUTION_RULES:
        yield from rule(situation)


# -- the people ----------------------------------------------------------------------------------------------------


def _brackets(situation: Situation) -> Iterator[Caution]:
    counts = workers_by_bracket(situation.thresholds, situation.income).sum(axis=0)
    reached = np.cumsum(counts[::-1])[::-1] > 0
    unreached, passed = np.flatnonzero(~reached), np.flatnonzero(reached & (counts == 0))
    if unreached.size:
        what = _brackets_in_words(situation.thresholds, unreached, "holds no worker", "hold no worker")
        rate = "its rate has" if len(unreached) == 1 else "their rates have"
        yield Caution("unreached", f"{what}: {rate} no effect", _more_workers(situation), len(unreached))
    if passed.size:
        what = _brackets_in_words(situation.thresholds, passed, "holds no worker", "hold no worker")
        rate = "its rate changes" if len(passed) == 1 else "their rates change"
        yield Caution(
            "passed", f"{what}, though higher brackets do: {rate} no hours", _more_workers(situation), len(passed)
        )


def _brackets_in_words(thresholds: Sequence[float], which: NDArray[np.intp], one: str, several: str) -> str:
    numbers, edges = [str(i + 1) for i in which], [f"{thresholds[i]:,.0f}" for i in which]
    noun, verb = ("bracket", one) if len(which) == 1 else ("brackets", several)
    return f"{noun} {_listed(numbers)} (from {_listed(edges)} dollars) {verb}"


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _more_workers(situation: Situation) -> str:
    enough = next((n for n in (ENOUGH_WORKERS, MANY_WORKERS) if n > situation.workers), None)
    return f"use more workers (--num-agents {enough})" if enough else "interpret only the other rates"


def _cap(situation: Situation) -> Iterator[Caution]:
    if situation.setting.economy.weeks == ECONOMIES["weekly"].weeks:
        return iter(())
    capped = situation.income >= WEEKS * situation.wage * MAX_HOURS * (1 - 1e-9)

    def say(worst: int, when: str) -> str:
        who = f"{int(capped[worst].sum())} of {situation.workers} workers"
        return f"{who} are at the cap of {MAX_HOURS} hours{when}, where taxes do not change hours"

    return _above(situation, "cap", capped.mean(axis=-1), AT_THE_CAP, say, "use --economy weekly")


def _above(
    situation: Situation, kind: str, measure: FloatArray, limit: float, say: Callable[[int, str], str], way: str
) -> Iterator[Caution]:
    """A caution if `measure` (Y,) exceeds `limit` in a year; `say` takes the worst year and the count of such years."""
    above = measure > limit
    if above.any():
        worst = int(measure.argmax())
        yield Caution(kind, say(worst, situation.years(above)), way, float(measure[worst]))


# -- the objective -------------------------------------------------------------------------------------------------


def _few(situation: Situation) -> Iterator[Caution]:
    """One worker carries much of the objective, or two carry much of `inverse_income`. `_idle` covers idle workers."""
    name = situation.setting.welfare
    terms = terms_of(name, situation.setting.inequality_aversion)
    if terms is None or any(_idle(situation)):
        return
    shares = terms.shares(situation.utility, situation.income, situation.wage)
    order = np.argsort(-shares, axis=-1, kind="stable")[:, :2]
    largest = np.take_along_axis(shares, order, axis=-1)
    one, two = largest[:, 0], largest.sum(axis=-1)
    pairs = (two > TWO_CARRY) & (name == "inverse_income") & (situation.workers > 2)
    flagged = (one > ONE_CARRIES) | pairs
    if not flagged.any():
        return
    worst = int(np.where(flagged, two if pairs.any() else one, 0).argmax())
    wages = [f"{situation.wage[worst, agent]:.2f}" for agent in order[worst]]
    when = situation.years(flagged)
    if one[worst] > ONE_CARRIES:
        who = f"worker {order[worst, 0]}, at {wages[0]} dollars an hour, carries {one[worst]:.0%}"
        more = f", two carry {two[worst]:.0%}" if pairs[worst] else ""
    else:
        who, more = f"two, at {_listed(wages)} dollars an hour, carry {two[worst]:.0%}", ""
    text = f"{name} rests on few workers{when}: {who} {terms.of}{more}"
    yield Caution(f"{name}: few", text, _way_out_of_few(situation), float(two[worst] if more else one[worst]))


def _way_out_of_few(situation: Situation) -> str:
    name, ways = situation.setting.welfare, []
    if situation.workers < ENOUGH_WORKERS:
        ways.append(f"--num-agents {ENOUGH_WORKERS}")
    if name == "inverse_income" and situation.wage.min() < MINIMUM_WAGE:
        ways.append(f"--min-wage {MINIMUM_WAGE}")
    if name == "paper":
        ways.append("--welfare inverse_income")
    return f"use {' and '.join(ways)}" if ways else f"compare --welfare {_other(name)}"


def _other(name: str) -> str:
    """A welfare function that weighs people more evenly, or differently."""
    return "atkinson" if name in ("inverse_income", "utilitarian", "equality_productivity") else "utilitarian"


def _idle(situation: Situation) -> Iterator[Caution]:
    """Nearly idle workers carry `paper`. A worker gets back 1/N of its tax at any rate, so that few are fully idle."""
    if situation.setting.welfare != "paper":
        return iter(())
    idle = situation.income < WEEKS * situation.wage * HARDLY_WORKS
    terms = TERMS["paper"].shares(situation.utility, situation.income, situation.wage)
    shares = np.where(idle, terms, 0.0).sum(axis=-1)

    def say(worst: int, when: str) -> str:
        return (
            f"paper divides by income{when}: workers with fewer than {HARDLY_WORKS} hours "
            f"({int(idle[worst].sum())} of {situation.workers}) carry {shares[worst]:.0%} of the sum"
        )

    return _above(situation, "paper: idle", shares, IDLE_CARRY, say, "use --welfare inverse_income")


def _own_hours(situation: Situation) -> Iterator[Caution]:
    spread = situation.spread
    if situation.setting.welfare != "rawlsian" or situation.regret is None or spread is None:
        return iter(())
    worst_off = situation.utility.argmin(axis=-1)
    lost = np.take_along_axis(situation.regret, worst_off[:, None], axis=-1)[:, 0]

    def say(worst: int, when: str) -> str:
        return (
            f"rawlsian depends on hours, not on laws{when}: the worst-off worker loses {lost[worst]:,.0f} dollars by "
            f"its own hours, more than the {spread:,.0f} dollars between the laws"
        )

    return _above(situation, "rawlsian: hours", lost, spread, say, "judge laws by best responses")


def _floor(situation: Situation) -> Iterator[Caution]:
    name = situation.setting.welfare
    if name not in FLOORS:
        return iter(())
    floor, what = FLOORS[name]
    below = situation.utility < floor

    def say(worst: int, when: str) -> str:
        return f"{name} counts {what}, which affects {int(below[worst].sum())} of {situation.workers} workers{when}"

    return _above(situation, f"{name}: floor", below.mean(axis=-1), 0.0, say, "compare --welfare utilitarian")


FLOORS = {
    "atkinson": (1.0, "utilities below one dollar as one dollar"),
    "equality_productivity": (0.0, "utilities below 0 as 0 in its gini"),
}
"""Utility in dollars a year below which a welfare function sees no difference."""

CAUTION_RULES: Sequence[Callable[[Situation], Iterator[Caution]]] = (_idle, _few, _own_hours, _floor)


def blind(name: str, values: Sequence[float]) -> Iterator[Caution]:
    """A caution if welfare function `name` takes nearly the same of its `values` under every law."""
    spread, largest = max(values) - min(values), max(map(abs, values))
    if spread < BLIND * largest:
        text = f"{name} cannot rank the laws: they differ by only {spread / largest:.2%}"
        yield Caution(f"{name}: blind", text, "compare --welfare all", 1 - spread / largest)
