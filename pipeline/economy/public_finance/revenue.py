"""Deadweight loss of a law, and the Laffer curve of a flat tax, from exact best responses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.equilibrium import CHUNK, equilibrium
from pipeline.economy.tax import FloatArray, uniform
from pipeline.economy.utility import Economy, respond
from signatures.types import TaxSchedule

FINE = 0.01
"""The peak of the Laffer curve is located to this many points."""


class Peak(NamedTuple):
    """The flat rate in percent with the highest revenue, and this revenue in dollars a year per worker."""

    rate: float
    revenue: float


def deadweight_loss(economy: Economy, law: TaxSchedule, wages: ArrayLike) -> float:
    """What `law` costs workers with hourly `wages` (N,) beyond what it collects, in dollars a year per worker.

    The mean utility without a marginal tax, less the mean utility under `law` with the revenue paid back. Utility is
    linear in money, so this is both the equivalent and the compensating variation.

    >>> deadweight_loss(Economy(), uniform((0,), 0), [10, 20])
    0.0
    """
    free, taxed = (equilibrium(economy, one, wages) for one in (uniform((0.0,), 0.0), law))
    return float(free.utility.mean() - taxed.utility.mean())


def flat_revenue(economy: Economy, wages: ArrayLike, rates: ArrayLike, taxpayers: float | None = None) -> FloatArray:
    """The Laffer curve: revenue (S,) in dollars a year per worker of flat taxes at `rates` (S,), in percent.

    Workers with hourly `wages` (N,) best-respond; `taxpayers` share the revenue, N if None.
    """
    w, levels = np.asarray(wages, dtype=float), np.asarray(rates, dtype=float)
    rows = max(1, CHUNK // len(w))
    parts = (levels[first : first + rows, None] for first in range(0, len(levels), rows))
    return np.concatenate([respond(economy, (0.0,), part, w, taxpayers or len(w)).tax.mean(axis=1) for part in parts])


def laffer_peak(economy: Economy, wages: ArrayLike, taxpayers: float | None = None) -> Peak:
    """The peak of the Laffer curve, to 0.01 points.

    With an elasticity of e, no worker at the most hours and many taxpayers, it is at 1/(1+e). N taxpayers get 1/N of
    their own tax back, so that it is at 1/((1+e)*(1 - 1/N)), and workers at the most hours raise it further.

    >>> from pipeline.economy.utility import CONTINUUM
    >>> laffer_peak(Economy(), [5, 10, 20], taxpayers=CONTINUUM).rate
    71.43
    """
    whole = np.arange(0.0, 101.0)
    near = whole[int(np.argmax(flat_revenue(economy, wages, whole, taxpayers)))]
    fine = np.arange(max(0.0, near - 1), min(100.0, near + 1) + FINE / 2, FINE).round(2)
    heights = flat_revenue(economy, wages, fine, taxpayers)
    best = int(np.argmax(heights))
    return Peak(float(fine[best]), float(heights[best]))
