"""Distributions of hourly wages.

The wage is the worker's skill, in dollars an hour: yearly income at 40 hours a week, divided by 40*52 hours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

FULL_TIME_HOURS = 40 * 52
"""Hours a year at 40 hours a week: income at 40 hours = wage * FULL_TIME_HOURS."""

GB2_MU = 72402.78177917618
GB2_SIGMA = 2.0721070746154746
GB2_NU = 0.48651871959386955
GB2_TAU = 1.1410398548220329
"""Parameters of a generalized beta distribution of the second kind (GB2) fitted to ACS incomes in dollars a year, as
in the LLM Economist (Karten et al. 2025, arXiv 2507.15815). For the year, see `PAPER_YEAR` in
`pipeline/economy/laws/dollars.py`."""

MIN_WAGE = 0.01
"""The lowest wage, one cent an hour. The GB2 density is positive down to zero income, but some formulas divide by
income. The floor affects 3 draws in 10,000, and so none of the quantiles above that."""

UNIFORM_WAGES = (1.24, 159.1)
"""Bounds of the uniform distribution in dollars an hour, as in the LLM Economist (arXiv 2507.15815)."""


def gb2_incomes(num_agents: int, rng: np.random.Generator) -> FloatArray:
    """Yearly incomes (num_agents,) in dollars from the GB2 distribution above: positive, with a Pareto tail of index
    sigma * tau = 2.36.

    In the parametrization of gamlss, GB2(mu, sigma, nu, tau) has the density
    sigma * y^(sigma*nu - 1) / (mu^(sigma*nu) * B(nu, tau) * (1 + (y/mu)^sigma)^(nu + tau)),
    which is the distribution of mu * (G_nu / G_tau)^(1/sigma) for independent gamma variables G of those shapes
    (McDonald 1984, Econometrica 52:647).
    """
    ratio = rng.standard_gamma(GB2_NU, num_agents) / rng.standard_gamma(GB2_TAU, num_agents)
    return np.asarray(GB2_MU * ratio ** (1 / GB2_SIGMA), dtype=np.float64)


def wages_us_income(num_agents: int, rng: np.random.Generator) -> FloatArray:
    """Wages (num_agents,) in dollars an hour: US incomes divided by 2,080 hours, at least `MIN_WAGE`.

    The incomes include those of people who worked part-time or part of the year. Divided by the hours of a full year,
    21.8 % are below 7.25 dollars an hour and 6.1 % below 2.

    >>> bool(18 < np.median(wages_us_income(100_000, np.random.default_rng(0))) < 18.7)
    True
    """
    return np.maximum(gb2_incomes(num_agents, rng) / FULL_TIME_HOURS, MIN_WAGE)


def wages_uniform(num_agents: int, rng: np.random.Generator) -> FloatArray:
    """Wages (num_agents,) in dollars an hour, uniform over `UNIFORM_WAGES`."""
    return rng.uniform(*UNIFORM_WAGES, num_agents)
