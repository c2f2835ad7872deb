"""Utility of consumption with constant relative risk aversion, in dollars a year at a consumption of 50,000 dollars.

    v(c) = c0 + c0 * ((c/c0)**(1 - gamma) - 1) / (1 - gamma)        with c0 = 50,000 dollars a year
    v(c) = c0 + c0 * ln(c/c0)                                       with gamma = 1

At c0 a further dollar is worth one unit at every gamma, so utility and regret stay comparable, and gamma = 0 is
v(c) = c. Below one dollar v is linear, with its slope at one dollar: it stays finite, rising and concave, also where a
poll tax takes more than a worker earns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.effort import FLOOR, Economy
from pipeline.economy.tax import FloatArray


def worth(economy: Economy, consumption: ArrayLike) -> FloatArray:
    """The utility of yearly `consumption` in dollars, of any shape; the consumption itself without income effects.

    >>> worth(Economy(gamma=1.0), [25_000, 50_000, 100_000]).round()
    array([15343., 50000., 84657.])
    >>> worth(Economy(gamma=2.0), [25_000, 50_000, 100_000])
    array([    0., 50000., 75000.])
    """
    c = np.asarray(consumption, dtype=float)
    if not economy.gamma:
        return c
    unit, curve = economy.reference, 1 - economy.gamma
    ratio = c / unit
    logs = np.log(np.maximum(ratio, FLOOR))
    # expm1 keeps the digits if gamma is near 1
    grown = np.expm1(curve * logs) / curve if curve else logs
    below = np.minimum(ratio - FLOOR, 0.0) * FLOOR**-economy.gamma
    return np.asarray(unit * (1 + grown + below))


def worth_of_a_dollar(economy: Economy, consumption: ArrayLike) -> FloatArray:
    """The derivative of `worth`: the utility of one more dollar; 1 at the reference and without income effects.

    >>> worth_of_a_dollar(Economy(gamma=2.0), [25_000, 50_000, 100_000])
    array([4.  , 1.  , 0.25])
    """
    ratio = np.asarray(consumption, dtype=float) / economy.reference
    return np.asarray(np.maximum(ratio, FLOOR) ** -economy.gamma)
