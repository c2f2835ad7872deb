"""`--economy calibrated`: each worker's cost of effort, inverted from its income in the data.

A population is drawn as yearly incomes z. Under the law of the data's year a worker who earns z at 40 hours a week
satisfies the first-order condition of the best response,

    52 * (1 - tau(z)*(1 - 1/N)) * w * v'(z - T(z) + R) = weeks * c * taste * delta * 40**(delta - 1)

with v' = 1 without income effects, and with the rebate R = mean T(z) of that law otherwise,

which gives its taste, the factor on its cost of effort. The law is convex, so the condition is sufficient: under that
law every worker chooses 40 hours and earns exactly the income that was drawn (Saez 2001, section 5, inverts skills from
incomes in the same way). An income on the edge of two brackets gets the upper one's rate, with which 40 hours are best,
too.

The law is the federal income tax of a single filer with the standard deduction (`data_law`). The earned income tax
credit is left out: its phase-out makes the law non-convex, and no cost of effort makes incomes near its end optimal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.income_effects.consumption import worth_of_a_dollar
from pipeline.economy.laws.cpi import inflation
from pipeline.economy.laws.named_laws import named_law
from pipeline.economy.population import POPULATIONS
from pipeline.economy.tax import FloatArray, marginal_rate, tax
from pipeline.economy.utility import WEEKS, Economy, effective_share
from pipeline.economy.wages import FULL_TIME_HOURS
from signatures.types import TaxSchedule

HOURS = 40
"""The hours a week that every worker chooses under the law of the data's year."""


def data_law_name(mix: str) -> str:
    """The name of the law in force in the year of the incomes of a population in `POPULATIONS`.

    >>> data_law_name("us_income"), data_law_name("acs")
    ('us-2023-single-deduction', 'us-2018-single-deduction')
    """
    return f"us-{POPULATIONS[mix].dollars_of}-single-deduction"


def data_law(mix: str, dollars_of: int | None) -> TaxSchedule:
    """The law in force in the year of the incomes, in dollars of the year `dollars_of` (None: of its own)."""
    law, year = named_law(data_law_name(mix))
    growth = inflation(year, dollars_of)
    return law.model_copy(update={"thresholds": tuple(edge * growth for edge in law.thresholds)})


def calibrated_tastes(economy: Economy, law: TaxSchedule, wages: ArrayLike, taxpayers: float) -> FloatArray:
    """Factors on the cost of effort with which workers with hourly `wages` (N,) work `HOURS` a week under `law`.

    `taxpayers` share the revenue. Raises ValueError for a law whose rates fall or reach 100 %, which not all incomes
    can be inverted under.

    >>> from pipeline.economy.tax import uniform
    >>> calibrated_tastes(Economy(), uniform((0,), 50), [10, 20], taxpayers=2).round(4)
    array([0.4235, 0.847 ])
    """
    if (np.diff(law.rates) < 0).any() or max(law.rates) >= 100:
        raise ValueError("incomes can only be inverted under a law whose rates rise and are below 100 percent")
    w = np.asarray(wages, dtype=float)
    net = 1 - marginal_rate(law, w * FULL_TIME_HOURS) / 100 * effective_share(taxpayers)
    usual = economy.weeks * economy.c * economy.delta * HOURS ** (economy.delta - 1)
    tastes = np.asarray(WEEKS * net * w / usual)
    if not economy.gamma:
        return tastes
    owed = tax(law, w * FULL_TIME_HOURS)
    return tastes * worth_of_a_dollar(economy, w * FULL_TIME_HOURS - owed + owed.mean())
