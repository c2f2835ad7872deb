"""The cost of effort: what work costs workers, who may differ in it.

A worker's own cost is kept in columns of the population and of the table `agents`, which `with_own` puts into an
`Economy`: `taste`, a factor on the cost of effort; `elasticity`, that of its hours with respect to the net wage; and
`participation_cost`, what it costs to work at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.economy.tax import FloatArray

WEEKS = 52
"""Weeks of work in a year."""

MAX_HOURS = 100
"""The most hours of work in a week."""

REFERENCE = 50_000.0
"""The consumption in dollars a year at which a dollar more is worth one unit of utility, whatever `gamma` is."""

FLOOR = 1 / REFERENCE
"""One dollar a year, as a share of the reference. Below it the worth of a dollar no longer rises."""

FULL_TIME = 40
"""The hours a week at which the marginal cost of effort is the same at every elasticity."""


@dataclass(frozen=True, eq=False)
class Economy:
    """The cost of effort: `weeks * c * l**delta` dollars a year for l hours a week, with `delta` above 1.

    `tastes` (N,): each worker's own factor on this cost; None if all have the same. With tastes, wages, hours and
    incomes must be those of the same N workers in the same order (`of` takes some of them). `calibrated`: whether
    tastes are inverted from incomes (calibration.py), so that no cost of effort is the usual one. `elasticities` (N,):
    each worker's own elasticity of hours; its cost is taste * k * l**(1 + 1/elasticity), with k such that the marginal
    cost of the 40th hour is taste times the usual one. None if all have that of `delta`. `participation_costs` (N,):
    what each worker loses if it works at all, whatever the hours, 0 or more dollars a year; None if no one does.
    `gamma`: how fast the worth of a dollar falls with consumption (income_effects/consumption.py); 0: not at all, so
    that there are no income effects. `reference`: the consumption at which a dollar is worth one unit.
    """

    c: float = 0.0005
    delta: float = 3.5
    weeks: float = WEEKS
    tastes: FloatArray | None = None
    calibrated: bool = False
    elasticities: FloatArray | None = None
    participation_costs: FloatArray | None = None
    gamma: float = 0.0
    reference: float = REFERENCE

    @property
    def power(self) -> float | FloatArray:
        """The power of hours in the cost of effort: `delta` for all, or for each worker (N,)."""
        return self.delta if self.elasticities is None else 1 + 1 / self.elasticities

    @property
    def effort(self) -> float | FloatArray:
        """The cost of one hour to the power of `power`, in dollars a year: for all, or for each worker (N,).

        Without participation costs, which do not depend on the hours.
        """
        cost: float | FloatArray = self.weeks * self.c
        if self.elasticities is not None:
            cost = cost * (self.delta / self.power) * FULL_TIME ** (self.delta - self.power)
        return cost if self.tastes is None else cost * self.tastes

    @property
    def response(self) -> float | FloatArray:
        """The elasticity of hours with respect to the net wage: for all, or for each worker (N,)."""
        return self.elasticity if self.elasticities is None else self.elasticities

    @property
    def alike(self) -> bool:
        """Whether all workers have the same costs."""
        return all(getattr(self, name) is None for name in OWN.values())

    @property
    def usual(self) -> bool:
        """Whether there is a usual cost of effort, with which a worker's own one can be compared."""
        return not self.calibrated and self.elasticities is None

    def of(self, workers: NDArray[np.intp] | slice) -> Economy:
        """The same economy for some of the workers, by number."""
        own = {name: getattr(self, name) for name in OWN.values()}
        some: dict[str, Any] = {name: None if column is None else column[workers] for name, column in own.items()}
        return replace(self, **some)

    def _content(self) -> tuple[object, ...]:
        own = (getattr(self, name) for name in OWN.values())
        columns = (None if column is None else column.tobytes() for column in own)
        return self.c, self.delta, self.weeks, self.calibrated, self.gamma, self.reference, *columns

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Economy) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    @property
    def elasticity(self) -> float:
        """The elasticity of hours, and thus of income, with respect to the net-of-tax wage, of workers without
        one of their own; with income effects at an unchanged worth of a dollar (Frisch).

        >>> Economy().elasticity
        0.4
        """
        return 1 / (self.delta - 1)


ECONOMIES: dict[str, Economy] = {
    "weekly": Economy(),
    "v1": Economy(weeks=1),
    "calibrated": Economy(calibrated=True),
}
"""`weekly` is the default. `calibrated` is the same, with each worker's own cost of effort (calibration.py). `v1` sets
one week of effort against a year of pay, as the first release did; there nearly all workers choose 100 hours at nearly
any tax."""


OWN = {"taste": "tastes", "elasticity": "elasticities", "participation_cost": "participation_costs"}
"""The columns with workers' own costs, in populations and the table `agents`, and the fields of `Economy` for them."""


def with_own(economy: Economy, columns: Mapping[str, Any]) -> Economy:
    """`economy` with the workers' own costs in `columns`, by the names in `OWN`; all other columns are ignored.

    A column (N,) counts as absent, so that all workers have the same, if it is None, missing, or has NULL values.
    """
    own: dict[str, Any] = {field: own_column(columns.get(name)) for name, field in OWN.items()}
    return replace(economy, **own)


def own_column(column: Any) -> FloatArray | None:
    """A column as numbers; None if there is none, or if values are NULL (masked, NaN or None)."""
    if column is None or np.ma.getmaskarray(column).any():
        return None
    values = np.asarray(np.ma.getdata(column), dtype=float)
    return None if np.isnan(values).any() else values


def cost_of_hours(economy: Economy, labor: ArrayLike) -> FloatArray:
    """The cost of `labor` hours a week without participation costs, in dollars a year."""
    return np.asarray(economy.effort * np.asarray(labor, dtype=float) ** economy.power)


def effort_cost(economy: Economy, labor: ArrayLike) -> FloatArray:
    """The cost of `labor` hours a week to the worker, in dollars a year; with own costs, `labor` is (..., N).

    >>> round(float(effort_cost(Economy(), 40)), 2)
    10524.06
    >>> effort_cost(with_own(Economy(), {"participation_cost": [3_000, 3_000]}), [0, 40]).round(2)
    array([    0.  , 13524.06])
    """
    cost = cost_of_hours(economy, labor)
    if economy.participation_costs is None:
        return cost
    return cost + np.where(np.asarray(labor) > 0, economy.participation_costs, 0.0)
