"""Wages: what an hour of a worker's time earns, in dollars.

The wage is the worker's skill, in the unit in which the utility's constants make sense: yearly income at 40
hours a week, divided by 40*52 hours.
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
"""Generalised beta of the second kind fitted to ACS incomes (dollars a year), as in the LLM Economist
(Karten et al. 2025, arXiv 2507.15815). Its year: `PAPER_YEAR` in `pipeline/economy/dollars.py`."""

MIN_WAGE = 0.01
"""One cent an hour, the least that money can pay. The GB2 density is positive down to zero income, and what
divides by income cannot bear a zero. The floor moves 3 draws in 10,000: every quantile above that stands."""

UNIFORM_WAGES = (1.24, 159.1)
"""Bounds in dollars an hour of the uniform wage, as in the LLM Economist (arXiv 2507.15815)."""


def gb2_incomes(num_agents: int, rng: np.random.Generator) -> FloatArray:
    """Yearly incomes (num_agents,) in dollars from the GB2 above, all positive, the tail Pareto with index
    sigma * tau = 2.36.

    In the parametrisation of gamlss, GB2(mu, sigma, nu, tau) has the density
    sigma * y^(sigma*nu - 1) / (mu^(sigma*nu) * B(nu, tau) * (1 + (y/mu)^sigma)^(nu + tau)),
    which is the law of mu * (G_nu / G_tau)^(1/sigma) for independent gamma variables G of those shapes
    (McDonald 1984, Econometrica 52:647).
    """
    ratio = rng.standard_gamma(GB2_NU, num_agents) / rng.standard_gamma(GB2_TAU, num_agents)
    return np.asarray(GB2_MU * ratio ** (1 / GB2_SIGMA), dtype=np.float64)


def wages_us_income(num_agents: int, rng: np.random.Generator) -> FloatArray:
    """Wages (num_agents,) in dollars an hour of US incomes earned at 40 hours a week, at least `MIN_WAGE`.

    The incomes are those of all earners, also of those who worked part-time or part of the year: divided by the hours
    of a full year, 21.8 % are below 7.25 dollars an hour and 6.1 % below 2.

    >>> bool(18 < np.median(wages_us_income(100_000, np.random.default_rng(0))) < 18.7)
    True
    """
    return np.maximum(gb2_incomes(num_agents, rng) / FULL_TIME_HOURS, MIN_WAGE)


def wages_uniform(num_agents: int, rng: np.random.Generator) -> FloatArray:
    """Wages (num_agents,) in dollars an hour, uniform over `UNIFORM_WAGES`."""
    return rng.uniform(*UNIFORM_WAGES, num_agents)
