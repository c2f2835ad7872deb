"""Reforms of one percentage point with exact best responses: revenue, winners and losers, and Pareto improvements.

The revenue of a reform changes the rebate, which is the same for all workers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.equilibrium import CHUNK, equilibrium
from pipeline.economy.incidence import Incidence, incidence
from pipeline.economy.policy_support import INDIFFERENT
from pipeline.economy.public_finance.margins import mvpf
from pipeline.economy.tax import tax
from pipeline.economy.utility import Economy, respond
from signatures.types import TaxSchedule

LEAST, MOST = -100.0, 100.0
"""The lowest and the highest rate in percent."""


@dataclass(frozen=True, eq=False)
class Point:
    """The exact effect of one point more in a bracket, or of one point less if `change` is -1, as at a rate of 100.

    `mechanical`, `behavioral` and `payment` (what workers would pay to avoid the change, before the rebate) are in
    dollars a year per worker. `incidence`: who gains from the change and the rebate that it pays for.
    """

    bracket: int
    change: float
    mechanical: float
    behavioral: float
    payment: float
    incidence: Incidence

    @property
    def mvpf(self) -> float:
        """The marginal value of public funds; see `Margins.mvpf`."""
        sign = np.sign(self.change)
        return float(mvpf(sign * self.payment, sign * (self.mechanical + self.behavioral)))


@dataclass(frozen=True)
class ParetoReform:
    """A reform without losers: `changes` in points by bracket, the number of `winners`, and the mean `gain`, dollars a
    year."""

    changes: tuple[float, ...]
    winners: int
    gain: float


def points(economy: Economy, law: TaxSchedule, wages: ArrayLike, *, windfall: float = 0.0) -> Iterator[Point]:
    """One point in each bracket of `law`, for workers with hourly `wages` (N,) who best-respond."""
    now = equilibrium(economy, law, wages, windfall=windfall)
    for bracket, rate in enumerate(law.rates):
        change = 1.0 if rate + 1 <= MOST else -1.0
        reformed = _changed(law, {bracket: change})
        then = equilibrium(economy, reformed, wages, windfall=windfall)
        mechanical = float((tax(reformed, now.income) - now.tax).mean())
        total = float(then.tax.mean() - now.tax.mean())
        before, after = (float(one.utility.mean()) - one.rebate for one in (now, then))
        who = incidence(wages, then, now)
        yield Point(bracket, change, mechanical, total - mechanical, before - after, who)


def pareto_reforms(economy: Economy, law: TaxSchedule, wages: ArrayLike) -> list[ParetoReform]:
    """All changes of one or two rates of `law` by one point each that some workers gain from and none loses from.

    Workers with hourly `wages` (N,) best-respond. The highest mean gain comes first. A relative change of utility of
    up to `INDIFFERENT` is rounding.
    """
    w = np.asarray(wages, dtype=float)
    reforms = list(_reforms(law))
    now = respond(economy, law.thresholds, np.array([law.rates]), w, len(w))
    before = now.surplus[0] + now.tax.mean()
    rows, found = max(1, CHUNK // len(w)), []
    for first in range(0, len(reforms), rows):
        some = reforms[first : first + rows]
        then = respond(economy, law.thresholds, np.array([one.rates for one in some]), w, len(w))
        gains = then.surplus + then.tax.mean(axis=1, keepdims=True) - before
        gains[np.abs(gains) <= INDIFFERENT * np.abs(before)] = 0.0
        for reform, gain in zip(some, gains, strict=True):
            if gain.min() >= 0 and gain.max() > 0:
                changes = tuple(float(c) for c in np.subtract(reform.rates, law.rates).round(9))
                found.append(ParetoReform(changes, int((gain > 0).sum()), float(gain.mean())))
    return sorted(found, key=lambda one: -one.gain)


def _reforms(law: TaxSchedule) -> Iterator[TaxSchedule]:
    """The law with one or two rates changed by a point, within `LEAST` and `MOST`."""
    for size in (1, 2):
        for places in itertools.combinations(range(len(law.rates)), size):
            for signs in itertools.product((1.0, -1.0), repeat=size):
                changes = dict(zip(places, signs, strict=True))
                if all(LEAST <= law.rates[place] + change <= MOST for place, change in changes.items()):
                    yield _changed(law, changes)


def _changed(law: TaxSchedule, changes: dict[int, float]) -> TaxSchedule:
    rates = tuple(rate + changes.get(bracket, 0.0) for bracket, rate in enumerate(law.rates))
    return TaxSchedule(thresholds=law.thresholds, rates=rates)
