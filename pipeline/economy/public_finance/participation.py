"""The participation margin: how many workers stop working, per dollar that a law takes from working.

Fixed costs of work are exponentially distributed and independent of everything else about a worker (population.py). Of
workers to whom their best hours above 0 bring v dollars a year before the fixed cost, with mean cost D,

    F = 1 - exp(-v/D) work,      f = exp(-v/D) / D stop per dollar that working brings less.

Pay z and the effective tax T leave z - T for working, so the elasticity of participation with respect to what working
leaves is (z - T)*f/F, as in Saez (2002). D is the mean of the workers' own costs, its maximum-likelihood estimate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.tax import FloatArray
from pipeline.economy.utility import Economy, effective_share, respond


@dataclass(frozen=True, eq=False)
class Participation:
    """What working means to workers (..., N), whether they do or not.

    `income`, `tax`: at their best hours above 0, in dollars a year. `density`: the share of such workers who stop
    working per dollar that it brings less. `kept`: income less the effective tax. `works`: the share who work.
    """

    income: FloatArray
    tax: FloatArray
    density: FloatArray
    kept: FloatArray
    works: FloatArray

    @property
    def elasticity(self) -> FloatArray:
        """The elasticity of participation (..., N) with respect to what working leaves; 0 where no one works."""
        return np.divide(self.kept * self.density, self.works, out=np.zeros_like(self.works), where=self.works > 0)


def participation(
    economy: Economy, thresholds: ArrayLike, rates: ArrayLike, wages: ArrayLike, taxpayers: float
) -> Participation:
    """The participation margin (S, N) under each of the `rates` (S, B), in percent; hourly `wages` (N,).

    `taxpayers` share the revenue. Everybody works without fixed costs of work, or if all of them are 0.

    >>> costs = np.array([0.0, 4_000.0])
    >>> one = participation(Economy(participation_costs=costs), [0], [[50]], [2, 20], np.inf)
    >>> one.works.round(3), one.elasticity.round(3)
    (array([[0.21 , 0.997]]), array([[1.242, 0.022]]))
    """
    would = respond(replace(economy, participation_costs=None), thresholds, rates, wages, taxpayers)
    kept = would.income - effective_share(taxpayers) * would.tax
    costs = economy.participation_costs
    mean = 0.0 if costs is None else float(costs.mean())
    if mean == 0:
        nothing = np.zeros_like(would.income)
        return Participation(would.income, would.tax, nothing, kept, nothing + 1)
    stay_home = np.exp(-(would.surplus + would.tax / taxpayers) / mean)
    return Participation(would.income, would.tax, stay_home / mean, kept, 1 - stay_home)
